"""The system checks of the channel layer: one for each way in which rooms would not work well with it."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from channels.layers import BaseChannelLayer
from channels_redis.core import RedisChannelLayer
from channels_redis.pubsub import RedisPubSubChannelLayer
from django.core.checks import CheckMessage, run_checks

ROOT = Path(__file__).parents[2]

REDIS = "channels_redis.core.RedisChannelLayer"
PUBSUB = "channels_redis.pubsub.RedisPubSubChannelLayer"
HOST = {"address": "redis://broker:6379/0", "socket_timeout": 7, "socket_connect_timeout": 2}
GOOD = {"hosts": [HOST], "capacity": 20_000, "prefix": "chat"}


class WithoutGroups(BaseChannelLayer):
    extensions = ("flush",)


class OwnRedisLayer(RedisChannelLayer):
    def __init__(self, **config: Any) -> None:
        super().__init__(**config)


def make_layer(**config: Any) -> BaseChannelLayer:
    raise AssertionError("a check must not make a layer")


@pytest.fixture
def found(settings: Any) -> Any:
    """`found(backend, config)` gives the messages about a layer of this kind."""

    def found(backend: Any, config: Any = None) -> list[CheckMessage]:
        settings.CHANNEL_LAYERS = {"default": {"BACKEND": backend} | ({} if config is None else {"CONFIG": config})}
        return found_as_configured()

    return found


def ids(messages: list[CheckMessage]) -> list[str | None]:
    return [message.id for message in messages]


def found_as_configured() -> list[CheckMessage]:
    return [message for message in run_checks() if str(message.id).startswith("django_etp.")]


def test_a_channel_layer_that_does_not_exist_is_an_error(settings: Any) -> None:
    settings.ETP = {"CHANNEL_LAYER": "rooms"}
    (message,) = found_as_configured()
    assert message.id == "django_etp.E002"
    assert "'rooms'" in message.msg


@pytest.mark.parametrize("alias", [["default"], {}, None, 1])
def test_a_channel_layer_of_a_wrong_type_is_one_error(settings: Any, alias: object) -> None:
    settings.ETP = {"CHANNEL_LAYER": alias}
    assert "django_etp.E001" in [message.id for message in found_as_configured()]


def test_no_channel_layer_at_all_is_a_warning(settings: Any) -> None:
    settings.CHANNEL_LAYERS = {}
    (message,) = found_as_configured()
    assert message.id == "django_etp.W001"
    assert not message.is_serious()


@pytest.mark.parametrize("config", [{}, {"hosts": ["redis://broker:6379/0"]}, {"hosts": [HOST]}])
def test_pubsub_layer_is_fine_with_a_prefix(found: Any, config: dict[str, Any]) -> None:
    assert found(PUBSUB, config | {"prefix": "chat"}) == []


def test_redis_layer_is_fine_with_what_the_checks_ask_for(found: Any) -> None:
    assert found(REDIS, GOOD) == []


def test_redis_layer_as_it_comes_is_warned_of(found: Any) -> None:
    messages = found(REDIS)
    assert ids(messages) == ["django_etp.W003", "django_etp.W006", "django_etp.W007"]
    assert not any(message.is_serious() for message in messages)


def test_layer_of_a_subclass_is_judged_like_its_parent(found: Any) -> None:
    backend = f"{__name__}.{OwnRedisLayer.__qualname__}"
    assert ids(found(backend)) == ["django_etp.W003", "django_etp.W006", "django_etp.W007"]
    assert found(backend, GOOD) == []


# In memory


def test_layer_in_memory_is_warned_of_outside_debug(found: Any) -> None:
    (message,) = found("channels.layers.InMemoryChannelLayer")
    assert message.id == "django_etp.W002"
    assert not message.is_serious()


def test_layer_in_memory_is_fine_in_debug(found: Any, settings: Any) -> None:
    settings.DEBUG = True
    assert found("channels.layers.InMemoryChannelLayer") == []


@pytest.mark.parametrize(("debug", "warns"), [(True, False), (False, True)])
def test_test_runner_warns_as_the_project_would(tmp_path: Path, debug: bool, warns: bool) -> None:
    (tmp_path / "project_settings.py").write_text(f"from tests.settings import *\nDEBUG = {debug}\n")
    assert ("django_etp.W002" in manage(tmp_path, "test", "project_settings")) is warns


# Missing, unknown, not fit


@pytest.mark.parametrize(
    "backend", ["no_such_package.Layer", "channels.layers.NoSuchLayer", "channels_redis", "", None, 7]
)
def test_backend_that_cannot_be_imported_is_an_error(found: Any, backend: object) -> None:
    (message,) = found(backend)
    assert message.id == "django_etp.E003"
    assert message.is_serious()
    assert "'default'" in message.msg


@pytest.mark.parametrize("entry", [{}, None, "channels.layers.InMemoryChannelLayer"])
def test_layer_without_a_backend_is_an_error(settings: Any, entry: object) -> None:
    settings.CHANNEL_LAYERS = {"default": entry}
    (message,) = (message for message in run_checks() if str(message.id).startswith("django_etp."))
    assert message.id == "django_etp.E003"
    assert message.msg == f"The channel layer 'default' must be a dict with a 'BACKEND', got {entry!r}."


@pytest.mark.parametrize("layers", [None, "channels.layers.InMemoryChannelLayer", ["default"]])
def test_layers_that_are_no_dict_are_an_error(settings: Any, layers: object) -> None:
    settings.CHANNEL_LAYERS = layers
    (message,) = (message for message in run_checks() if str(message.id).startswith("django_etp."))
    assert message.id == "django_etp.E003"
    assert message.msg == f"CHANNEL_LAYERS must be a dict of layers by alias, got {layers!r}."


def test_layer_without_groups_is_an_error(found: Any) -> None:
    (message,) = found(f"{__name__}.{WithoutGroups.__qualname__}")
    assert message.id == "django_etp.E004"
    assert message.is_serious()
    assert "WithoutGroups" in message.msg


def test_function_that_makes_a_layer_is_not_called(found: Any) -> None:
    assert found(f"{__name__}.{make_layer.__qualname__}") == []


def test_only_the_layer_that_rooms_use_is_judged(settings: Any) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": REDIS}, "rooms": {"BACKEND": PUBSUB}}
    settings.ETP = {"CHANNEL_LAYER": "rooms", "SITE": "shop"}
    assert [message.id for message in run_checks() if str(message.id).startswith("django_etp.")] == []


# Capacity


@pytest.mark.parametrize("capacity", [1, 100, 19_999])
def test_small_capacity_is_warned_of(found: Any, capacity: int) -> None:
    (message,) = found(REDIS, GOOD | {"capacity": capacity})
    assert message.id == "django_etp.W003"
    assert f"{capacity:,}" in message.msg
    assert "20,000" in message.hint


@pytest.mark.parametrize("pattern", ["etp.*", re.compile(r"etp\.")])
def test_capacity_of_the_hubs_channels_alone_is_enough(found: Any, pattern: object) -> None:
    assert found(REDIS, {"hosts": [HOST], "prefix": "chat", "channel_capacity": {pattern: 20_000}}) == []


@pytest.mark.parametrize("pattern", ["etp.*", re.compile(r"etp\.")])
def test_small_capacity_of_the_hubs_channels_is_warned_of(found: Any, pattern: object) -> None:
    (message,) = found(REDIS, GOOD | {"channel_capacity": {pattern: 500}})
    assert message.id == "django_etp.W003"


def test_capacity_of_other_channels_does_not_matter(found: Any) -> None:
    assert found(REDIS, GOOD | {"channel_capacity": {"http.*": 10, "specific.*": 10}}) == []


@pytest.mark.parametrize(("pattern", "is_enough"), [("etp.*", True), ("etp.shop.*", True), ("etp.other.*", False)])
def test_capacity_of_the_channels_of_a_site_is_enough(found: Any, settings: Any, pattern: str, is_enough: bool) -> None:
    settings.ETP = {"SITE": "shop"}
    assert ids(found(REDIS, {"hosts": [HOST], "channel_capacity": {pattern: 20_000}})) == (
        [] if is_enough else ["django_etp.W003"]
    )


# Prefix


class OwnPubSubLayer(RedisPubSubChannelLayer):
    pass


class LayerWithPrefix(RedisPubSubChannelLayer):
    def __init__(self, *, prefix: str = "chat", **config: Any) -> None:
        super().__init__(prefix=prefix, **config)


@pytest.mark.parametrize("site", [None, ""])
@pytest.mark.parametrize("config", [None, {}, {"hosts": [HOST]}, {"prefix": "asgi"}])
@pytest.mark.parametrize("backend", [PUBSUB, f"{__name__}.{OwnPubSubLayer.__qualname__}"])
def test_default_prefix_without_a_site_is_warned_of(
    found: Any, settings: Any, backend: str, config: Any, site: str | None
) -> None:
    settings.ETP = {} if site is None else {"SITE": site}
    (message,) = found(backend, config)
    assert message.id == "django_etp.W007"
    assert not message.is_serious()
    assert "'prefix'" in message.hint
    assert "ETP['SITE']" in message.hint


@pytest.mark.parametrize("backend", [PUBSUB, f"{__name__}.{OwnPubSubLayer.__qualname__}"])
def test_default_prefix_with_a_site_is_fine(found: Any, settings: Any, backend: str) -> None:
    settings.ETP = {"SITE": "shop"}
    assert found(backend, {}) == []


def test_prefix_of_a_layers_own_class_is_fine(found: Any) -> None:
    assert found(f"{__name__}.{LayerWithPrefix.__qualname__}") == []


# Expiry


def test_short_group_expiry_is_warned_of(found: Any) -> None:
    (message,) = found(REDIS, GOOD | {"group_expiry": 59})
    assert message.id == "django_etp.W004"
    assert found(REDIS, GOOD | {"group_expiry": 60}) == []


def test_short_expiry_of_messages_is_warned_of(found: Any) -> None:
    (message,) = found(REDIS, GOOD | {"expiry": 29})
    assert message.id == "django_etp.W005"
    assert found(REDIS, GOOD | {"expiry": 30}) == []


# Timeouts


@pytest.mark.parametrize(
    "hosts",
    [
        None,
        [],
        ["redis://:secret@broker:6379/0"],
        [("broker", 6379)],
        [{"host": "broker", "port": 6379}],
        [{"address": "redis://broker:6379/0?socket_timeout=5"}],
        [{"address": "redis://broker:6379/0", "socket_timeout": 5}],
        [{"address": "redis://broker:6379/0?socket_timeout=5", "socket_timeout": 7}],
        [{"sentinels": [("broker", 26379)], "master_name": "chat", "socket_timeout": 2.5}],
        [HOST, "redis://other:6379/0"],
    ],
)
def test_short_socket_timeout_is_warned_of(found: Any, hosts: Any) -> None:
    (message,) = found(REDIS, GOOD | {"hosts": hosts})
    assert message.id == "django_etp.W006"
    assert "'socket_timeout': 7" in message.hint
    assert "secret" not in str(message)


@pytest.mark.parametrize(
    "hosts",
    [
        ["redis://broker:6379/0?socket_timeout=7"],
        [{"host": "broker", "port": 6379, "socket_timeout": 7.5}],
        [{"address": "redis://broker:6379/0", "socket_timeout": None}],
        [HOST, HOST],
    ],
)
def test_long_or_no_socket_timeout_is_fine(found: Any, hosts: Any) -> None:
    assert found(REDIS, GOOD | {"hosts": hosts}) == []


# No harm


@pytest.mark.parametrize(
    "config",
    [
        None,
        7,
        {"hosts": "redis://broker:6379/0"},
        {"hosts": 7},
        {"hosts": [None, 7]},
        {"hosts": [{"address": "redis://broker:6379/0?socket_timeout=soon"}]},
        {"capacity": "many", "expiry": None, "group_expiry": []},
        {"channel_capacity": ["etp.*"]},
        {"no_such_option": 1},
    ],
)
def test_strange_config_is_no_crash(found: Any, config: object) -> None:
    assert all(str(message.id).startswith("django_etp.W") for message in found(REDIS, config))


NO_CONNECTIONS = """
import socket
def refuse(*_): raise AssertionError("a check connects")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
"""
NO_HANDLERS = "SILENCED_SYSTEM_CHECKS = ['django_etp.W301']\n"  # the suite's settings have no app with handlers
NO_REDIS = """
import sys
sys.modules["channels_redis"] = sys.modules["redis"] = None
"""


def test_checks_load_no_layer_that_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "project_settings.py").write_text(
        f"{NO_REDIS}from tests.settings import *\nDEBUG = True\n{NO_HANDLERS}"
    )
    assert "no issues" in manage(tmp_path, "check", "project_settings")


def test_check_of_a_redis_layer_connects_to_nothing(tmp_path: Path) -> None:
    layers = {"default": {"BACKEND": REDIS, "CONFIG": GOOD}}
    (tmp_path / "project_settings.py").write_text(
        f"{NO_CONNECTIONS}from tests.settings import *\nCHANNEL_LAYERS = {layers!r}\n{NO_HANDLERS}"
    )
    assert "no issues" in manage(tmp_path, "check", "project_settings")


def manage(directory: Path, command: str, settings: str) -> str:
    """Run a command with settings in `directory` and return all that it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "django", command],
        cwd=directory,  # no tests are there
        env=os.environ
        | {"DJANGO_SETTINGS_MODULE": settings, "PYTHONPATH": os.pathsep.join([str(directory), str(ROOT)])},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout + done.stderr
