"""The ETP settings: defaults, types, and what is said of wrong ones."""

import json
import math
from dataclasses import fields
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.serializers.json import DjangoJSONEncoder

from django_etp.conf import EtpSettings, find_problems, get_settings

DEFAULTS = {
    "CHANNEL_LAYER": "default",
    "SITE": "",
    "EVENT_MODULES": ["etp_events"],
    "MAX_MESSAGE_SIZE": 1048576,
    "MAX_DATA_SIZE": 65536,
    "ACK_TIMEOUT": 10.0,
    "MAX_CONCURRENT_EVENTS": 100,
    "MAX_QUEUED_EVENTS": 1000,
    "MAX_OUTBOX": 16777216,
    "SLOW_CLIENT_TIMEOUT": 20.0,
    "MAX_ROOMS": 1000,
    "SYNC_WORKERS": 32,
    "DISCONNECT_GRACE": 8.0,
    "DRAIN_SECONDS": 0,
    "QUESTION_TIMEOUT": 2.0,
    "PRESENCE_GRACE": 10.0,
    "PRESENCE_LIMIT": 500,
    "CLOSE_ON_LOGOUT": True,
    "SESSION_CHECK_INTERVAL": 60.0,
    "MIDDLEWARE": [],
    "CONNECT_MIDDLEWARE": [],
    "RATE": None,
    "MAX_CONNECTIONS_PER_USER": 0,
    "ALLOWED_ORIGINS": None,
    "HISTORY": {},
    "JSON_ENCODER": "django.core.serializers.json.DjangoJSONEncoder",
}


class Encoder(DjangoJSONEncoder):
    """An encoder of the project's own."""


@pytest.mark.parametrize("key", DEFAULTS)
def test_defaults(key: str) -> None:
    value = getattr(EtpSettings(), key.lower())
    assert (list(value) if isinstance(value, tuple) else value) == DEFAULTS[key]


@pytest.mark.parametrize("key", DEFAULTS)
def test_each_default_may_be_written_down(key: str) -> None:
    assert find_problems({key: DEFAULTS[key]}) == []


def test_no_setting_is_left_out_here() -> None:
    assert DEFAULTS.keys() == {field.name.upper() for field in fields(EtpSettings)}


def test_a_setting_is_taken_from_the_django_settings(settings: Any) -> None:
    settings.ETP = {"ACK_TIMEOUT": 3}
    assert get_settings() == EtpSettings(ack_timeout=3)
    settings.ETP = {}
    assert get_settings() == EtpSettings()


def test_a_project_without_the_setting_has_the_defaults(settings: Any) -> None:
    del settings.ETP
    assert get_settings() == EtpSettings()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("EVENT_MODULES", ()),
        ("EVENT_MODULES", ["events", "realtime.events"]),
        ("ACK_TIMEOUT", 1),
        ("ACK_TIMEOUT", 0.001),
        ("DISCONNECT_GRACE", 0),
        ("DISCONNECT_GRACE", 0.0),
        ("DRAIN_SECONDS", 30),
        ("DRAIN_SECONDS", 0.5),
        ("PRESENCE_GRACE", 0),
        ("SITE", "shop-2.example_com"),
        ("SITE", "x" * 28),
        ("ALLOWED_ORIGINS", "*"),
        ("ALLOWED_ORIGINS", []),
        ("ALLOWED_ORIGINS", ("https://example.com",)),
        ("HISTORY", {"BACKEND": "django_etp.history.RedisHistory", "OPTIONS": {"url": "redis://x"}}),
        ("HISTORY", {"OPTIONS": {}}),
        ("JSON_ENCODER", json.JSONEncoder),
        ("JSON_ENCODER", Encoder),
        ("JSON_ENCODER", f"{__name__}.Encoder"),
    ],
)
def test_values_that_are_right(key: str, value: object) -> None:
    assert find_problems({key: value}) == []


COUNTS = [
    "MAX_MESSAGE_SIZE",
    "MAX_DATA_SIZE",
    "MAX_CONCURRENT_EVENTS",
    "MAX_QUEUED_EVENTS",
    "MAX_OUTBOX",
    "MAX_ROOMS",
    "PRESENCE_LIMIT",
    "SYNC_WORKERS",
]
SECONDS = ["ACK_TIMEOUT", "QUESTION_TIMEOUT", "SLOW_CLIENT_TIMEOUT"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *((key, value) for key in COUNTS for value in (0, -1, 1.5, "100", None, True, math.inf)),
        *((key, value) for key in SECONDS for value in (0, -1, "10", None, True, math.inf, math.nan)),
        *(
            (key, value)
            for key in ("DISCONNECT_GRACE", "DRAIN_SECONDS", "PRESENCE_GRACE")
            for value in (-0.1, "8", None, False, True, math.inf, math.nan)
        ),
        *(("CHANNEL_LAYER", value) for value in ("", None, 1, ["default"])),
        *(("EVENT_MODULES", value) for value in ("etp_events", None, [1], [""], {"etp_events"})),
        *(
            ("SITE", value)
            for value in (None, 1, b"shop", "x" * 29, "a shop", "b\u00fccher", "shop\n", "shop!", "\u0663")
        ),
        *(("ALLOWED_ORIGINS", value) for value in ("https://example.com", "", True, [1], [""], {"*"}, ["*"])),
        *(("HISTORY", value) for value in (None, "x", {"BACKEND": 5}, {"OPTIONS": []}, {"URL": "redis://x"})),
        *(("JSON_ENCODER", value) for value in ("nowhere.Encoder", "json", "json.dumps", ".Encoder", dict, None)),
        ("JSON_ENCODER", ".conf.Encoder"),
        ("JSON_ENCODER", Encoder()),
    ],
)
def test_values_that_are_wrong(key: str, value: object) -> None:
    (problem,) = find_problems({key: value})
    assert f"ETP[{key!r}] must be" in problem
    assert repr(value)[:80] in problem


@pytest.mark.parametrize("key", ["ack_timeout", "TIMEOUT", 1, None])
def test_an_unknown_setting_is_named_with_those_that_exist(key: object) -> None:
    (problem,) = find_problems({key: 1})
    assert f"ETP[{key!r}] is not a setting" in problem
    assert "MAX_MESSAGE_SIZE" in problem


@pytest.mark.parametrize("value", [None, [], "ETP", 1])
def test_the_setting_must_be_a_dict(value: object) -> None:
    (problem,) = find_problems(value)
    assert "must be a dict" in problem


def test_every_problem_is_found() -> None:
    assert len(find_problems({"ACK_TIMEOUT": "1", "SYNC_WORKERS": 0, "UNKNOWN": 1})) == 3


def test_a_long_value_is_cut_in_the_sentence_about_it() -> None:
    (problem,) = find_problems({"ACK_TIMEOUT": "x" * 10_000})
    assert len(problem) < 300


def test_wrong_settings_are_refused(settings: Any) -> None:
    settings.ETP = {"ACK_TIMEOUT": "soon"}
    with pytest.raises(ImproperlyConfigured, match="ACK_TIMEOUT"):
        get_settings()
