"""The ``ETP`` settings: their types, defaults and units.

``ETP`` in the Django settings is a dict; every key is optional. ``get_settings()`` checks and returns them all;
``find_problems()`` lists what is wrong with them, for the system check.
"""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import Any, cast

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.dispatch import receiver
from django.utils.module_loading import import_string

from .origins import is_origin_pattern
from .rates import Rate

__all__ = [
    "EtpSettings",
    "ack_timeout",
    "checked_timeout",
    "find_problems",
    "get_settings",
    "is_origin_rule",
    "question_timeout",
]

# It is part of the names of channels. A layer adds up to 71 characters and allows 99.
_MAX_SITE = 28


@dataclass(frozen=True, slots=True, kw_only=True)
class EtpSettings:
    """All settings of ``ETP``, each under its name in lower case."""

    channel_layer: str = "default"
    site: str = ""
    event_modules: Sequence[str] = ("etp_events",)
    max_message_size: int = 1024 * 1024
    max_data_size: int = 64 * 1024
    ack_timeout: float = 10.0
    max_concurrent_events: int = 100
    max_queued_events: int = 1000
    max_outbox: int = 16 * 1024 * 1024
    slow_client_timeout: float = 20.0
    max_rooms: int = 1000
    sync_workers: int = 32
    disconnect_grace: float = 8.0
    drain_seconds: float = 0.0
    question_timeout: float = 2.0
    presence_grace: float = 10.0
    presence_limit: int = 500
    close_on_logout: bool = True
    session_check_interval: float = 60.0
    middleware: Sequence[str] = ()
    connect_middleware: Sequence[str] = ()
    rate: str | None = None
    max_connections_per_user: int = 0
    allowed_origins: str | Sequence[str] | None = None
    history: Mapping[str, Any] = field(default_factory=dict)
    json_encoder: str | type[json.JSONEncoder] = "django.core.serializers.json.DjangoJSONEncoder"


@lru_cache(maxsize=1)
def get_settings() -> EtpSettings:
    """Return the settings in force.

    Raises:
        ImproperlyConfigured: a key is unknown or a value has the wrong type.
    """
    values = getattr(settings, "ETP", {})
    if problems := find_problems(values):
        raise ImproperlyConfigured(" ".join(problems))
    return EtpSettings(**{key.lower(): value for key, value in values.items()})


def ack_timeout(timeout: float | None) -> float:
    """Return how long a caller waits for a peer's answer, in seconds: ``timeout``, or the setting if that is ``None``.

    Raises:
        TypeError: ``timeout`` is not a number of seconds.
    """
    return get_settings().ack_timeout if timeout is None else checked_timeout(timeout)


def question_timeout(timeout: float | None) -> float:
    """Return how long a caller waits for other processes, in seconds. See ack_timeout()."""
    return get_settings().question_timeout if timeout is None else checked_timeout(timeout)


def checked_timeout(timeout: float) -> float:
    """Return a caller's ``timeout``, in seconds.

    Raises:
        TypeError: it is not a number of seconds.
    """
    if not isinstance(timeout, int | float) or math.isnan(timeout):
        raise TypeError(f"timeout= must be a number of seconds, or None for the default; got {timeout!r:.80}.")
    return timeout


def find_problems(values: object) -> list[str]:
    """Return a sentence for each problem of ``values``, the ``ETP`` setting."""
    if not isinstance(values, Mapping):
        return [f"ETP must be a dict of settings, got {values!r:.80}."]
    known = {field.name.upper() for field in fields(EtpSettings)}
    problems = []
    for key, value in values.items():
        if key not in known:
            problems.append(f"ETP[{key!r}] is not a setting. Known are {', '.join(sorted(known))}.")
            continue
        expected, is_valid = _RULES[key]
        if not is_valid(value):
            problems.append(f"ETP[{key!r}] must be {expected}, got {value!r:.80}.")
    return problems


@receiver(setting_changed)
def _forget_settings(*, setting: str, **_: object) -> None:
    if setting == "ETP":
        get_settings.cache_clear()


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_count_or_zero(value: object) -> bool:
    return _is_count(value) or (value == 0 and type(value) is int)


def _is_seconds(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


def _is_seconds_or_zero(value: object) -> bool:
    return (value in (0, 0.0) and not isinstance(value, bool)) or _is_seconds(value)


def _is_site(value: object) -> bool:
    return isinstance(value, str) and bool(re.fullmatch(rf"[A-Za-z0-9_.-]{{0,{_MAX_SITE}}}", value))


def _is_text_list(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(item, str) and item for item in value)


def is_origin_rule(value: object) -> bool:
    """Return whether a value is valid for ``ALLOWED_ORIGINS``; in a list ``"*"`` would allow no origin."""
    return value in (None, "*") or (_is_text_list(value) and all(map(is_origin_pattern, cast(Sequence[str], value))))


def _is_rate(value: object) -> bool:
    try:
        Rate.parse(value)
    except ValueError:
        return False
    return True


def _is_history(value: object) -> bool:
    return (
        isinstance(value, Mapping)
        and value.keys() <= {"BACKEND", "OPTIONS"}
        and isinstance(value.get("BACKEND", "."), str)
        and isinstance(value.get("OPTIONS", {}), Mapping)
    )


def _is_encoder(value: object) -> bool:
    if isinstance(value, str):
        try:
            value = import_string(value)
        except (ImportError, TypeError, ValueError):  # a path that begins with a dot is one of the latter two
            return False
    return isinstance(value, type) and issubclass(value, json.JSONEncoder)


_RULES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "CHANNEL_LAYER": ("an alias in CHANNEL_LAYERS, as text", lambda value: isinstance(value, str) and bool(value)),
    "SITE": (
        f"a name of up to {_MAX_SITE} ASCII letters, digits, '-', '_' and '.', different for each project on a broker",
        _is_site,
    ),
    "EVENT_MODULES": ("a list of module names", _is_text_list),
    "MAX_MESSAGE_SIZE": ("a number of bytes above 0", _is_count),
    "MAX_DATA_SIZE": ("a number of bytes above 0", _is_count),
    "ACK_TIMEOUT": ("a number of seconds above 0", _is_seconds),
    "MAX_CONCURRENT_EVENTS": ("a whole number above 0", _is_count),
    "MAX_QUEUED_EVENTS": ("a whole number above 0", _is_count),
    "MAX_OUTBOX": ("a number of bytes above 0", _is_count),
    "SLOW_CLIENT_TIMEOUT": ("a number of seconds above 0", _is_seconds),
    "MAX_ROOMS": ("a whole number above 0", _is_count),
    "SYNC_WORKERS": ("a whole number above 0", _is_count),
    "DISCONNECT_GRACE": ("a number of seconds, 0 or more", _is_seconds_or_zero),
    "DRAIN_SECONDS": ("a number of seconds, 0 for no drain", _is_seconds_or_zero),
    "QUESTION_TIMEOUT": ("a number of seconds above 0", _is_seconds),
    "PRESENCE_GRACE": ("a number of seconds, 0 or more", _is_seconds_or_zero),
    "PRESENCE_LIMIT": ("a whole number above 0", _is_count),
    "CLOSE_ON_LOGOUT": ("True or False", lambda value: isinstance(value, bool)),
    "SESSION_CHECK_INTERVAL": ("a number of seconds above 0", _is_seconds),
    "MIDDLEWARE": ("a list of dotted paths of async functions", _is_text_list),
    "CONNECT_MIDDLEWARE": ("a list of dotted paths of async functions", _is_text_list),
    "RATE": ('None, or a rate such as "20/s" or "1000/day"', lambda value: value is None or _is_rate(value)),
    "MAX_CONNECTIONS_PER_USER": ("a whole number, 0 for any number", _is_count_or_zero),
    "ALLOWED_ORIGINS": (
        'None, "*" by itself, or a list of origins such as "https://example.com"',
        is_origin_rule,
    ),
    "HISTORY": ("a dict with the dotted path of a store as 'BACKEND', and a dict of its 'OPTIONS'", _is_history),
    "JSON_ENCODER": ("a subclass of json.JSONEncoder, or the dotted path of one", _is_encoder),
}
