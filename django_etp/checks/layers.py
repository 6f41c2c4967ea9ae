"""System checks of the channel layer: it exists, has groups, and its settings lose no messages.

The checks read a layer's class and its ``CONFIG``. They make no layer and open no connection.
"""

import fnmatch
import inspect
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from typing import Any
from urllib.parse import parse_qs, urlsplit

from channels.layers import BaseChannelLayer, InMemoryChannelLayer
from django.apps.config import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning
from django.utils.module_loading import import_string

from django_etp.exceptions import describe

__all__ = ["check_channel_layer"]

_REDIS_LAYER = "channels_redis.core.RedisChannelLayer"
_PUBSUB_LAYER = "channels_redis.pubsub.RedisPubSubChannelLayer"
# The prefix of both layers, if their CONFIG names none.
_DEFAULT_PREFIX = "asgi"
# How long that layer waits for a message in one call to Redis, and how long its connections should wait, in seconds.
_REDIS_WAIT = 5
_LEAST_SOCKET_TIMEOUT = 7
# In tests of 10,000 emits in a row by 8 threads, losses began at a few hundred, and there were none at this capacity.
_LEAST_CAPACITY = 20_000
# A hub joins its groups again every quarter of the expiry.
_LEAST_GROUP_EXPIRY = 60
_LEAST_EXPIRY = 30


def check_channel_layer(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Report a channel layer that is missing, or with which rooms do not work well."""
    values = getattr(settings, "ETP", {})
    alias = values.get("CHANNEL_LAYER", "default") if isinstance(values, Mapping) else "default"
    if not isinstance(alias, str):
        return []  # check_settings() reports it
    layers = getattr(settings, "CHANNEL_LAYERS", {})
    if not isinstance(layers, Mapping):
        return [_malformed(f"CHANNEL_LAYERS must be a dict of layers by alias, got {layers!r:.80}.")]
    if alias in layers:
        return _check_layer(alias, layers[alias], values.get("SITE", "") if isinstance(values, Mapping) else "")
    if alias != "default":
        return [
            Error(
                f"ETP['CHANNEL_LAYER'] is {alias!r}, which is not in CHANNEL_LAYERS.",
                hint="Add it there, or name one that is there.",
                id="django_etp.E002",
            )
        ]
    return [
        Warning(
            "No channel layer is configured: rooms reach the connections of one process only.",
            hint="Set CHANNEL_LAYERS['default']. InMemoryChannelLayer will do for one process.",
            id="django_etp.W001",
        )
    ]


def _check_layer(alias: str, entry: Any, site: object) -> list[CheckMessage]:
    if not isinstance(entry, Mapping) or "BACKEND" not in entry:
        return [_malformed(f"The channel layer {alias!r} must be a dict with a 'BACKEND', got {entry!r:.80}.")]
    try:
        kind = import_string(entry["BACKEND"])
    except (ImportError, TypeError, AttributeError) as error:
        return [_malformed(f"The BACKEND of the channel layer {alias!r} cannot be imported: {describe(error)}.")]
    if not isinstance(kind, type):
        return []  # a function that makes a layer: its class is unknown until it is called
    config = entry.get("CONFIG")
    if not isinstance(config, Mapping):
        config = {}
    messages = [_check_groups(alias, kind), _check_reach(alias, kind)]
    bases = [f"{base.__module__}.{base.__qualname__}" for base in inspect.getmro(kind)]
    if _REDIS_LAYER in bases:
        # The name of a hub's channel looks like this; settings give capacities by such names.
        hub_channel = f"etp.{site}.process!channel" if site else "etp.process!channel"
        messages += _check_redis_layer(alias, kind, config, hub_channel)
    if not site and (_REDIS_LAYER in bases or _PUBSUB_LAYER in bases):
        messages.append(_check_prefix(alias, kind, config))
    return [message for message in messages if message is not None]


def _malformed(problem: str) -> CheckMessage:
    return Error(
        problem,
        hint="Name the class of a channel layer, and install its package: channels-redis comes with django-etp[redis].",
        id="django_etp.E003",
    )


def _check_groups(alias: str, kind: Any) -> CheckMessage | None:
    # Only an instance of a class that delegates, as RedisPubSubChannelLayer does, has the extensions.
    if "groups" in getattr(kind, "extensions", ()) or not issubclass(kind, BaseChannelLayer):
        return None
    return Error(
        f"The channel layer {alias!r} has no groups, and rooms are groups: {kind.__qualname__} does not name 'groups' "
        "among its extensions.",
        hint="Use a layer that has them, such as channels_redis.pubsub.RedisPubSubChannelLayer.",
        id="django_etp.E004",
    )


def _check_reach(alias: str, kind: type) -> CheckMessage | None:
    if not issubclass(kind, InMemoryChannelLayer) or _is_debug():
        return None
    return Warning(
        f"The channel layer {alias!r} is in memory and DEBUG is off: rooms reach the connections of one process only, "
        "and management commands and task workers reach none.",
        hint="Use a layer that spans processes, such as channels_redis.pubsub.RedisPubSubChannelLayer. If there is "
        "only one server process, add 'django_etp.W002' to SILENCED_SYSTEM_CHECKS.",
        id="django_etp.W002",
    )


def _is_debug() -> bool:
    # Django's test runner switches DEBUG off before it runs the checks; the project's own value counts.
    state = getattr(sys.modules.get("django.test.utils"), "_TestState", None)
    return bool(settings.DEBUG or getattr(getattr(state, "saved_data", None), "debug", False))


def _check_prefix(alias: str, kind: type, config: Mapping[str, Any]) -> CheckMessage | None:
    if _value(kind, config, "prefix") not in (None, _DEFAULT_PREFIX):
        return None
    return Warning(
        f"The channel layer {alias!r} has the default prefix {_DEFAULT_PREFIX!r}, and ETP['SITE'] is not set. If "
        "another project uses the same broker with the same prefix, the two projects receive each other's events, list "
        "each other's members and close each other's connections. Another database number does not separate them: "
        "pub/sub messages belong to no database.",
        hint="Set 'prefix' in the layer's CONFIG, or ETP['SITE'], to a name that only this project has. All its "
        "processes need the same name.",
        id="django_etp.W007",
    )


def _check_redis_layer(alias: str, kind: type, config: Mapping[str, Any], hub_channel: str) -> Iterable[CheckMessage]:
    capacity = _capacity(kind, config, hub_channel)
    if _is_below(capacity, _LEAST_CAPACITY):
        yield Warning(
            f"The channel layer {alias!r} drops messages while {capacity:,} others wait for a process.",
            hint=f"Set 'capacity' to {_LEAST_CAPACITY:,} or more in its CONFIG, or use RedisPubSubChannelLayer, which "
            "has no such limit. All rooms of a process, and messages between processes, share one queue in Redis; "
            "only events that wait at the sender share a message, up to 500 of them. In our tests of bursts a capacity "
            f"of 100 lost messages, and {_LEAST_CAPACITY:,} lost none.",
            id="django_etp.W003",
        )
    group_expiry = _value(kind, config, "group_expiry")
    if _is_below(group_expiry, _LEAST_GROUP_EXPIRY):
        yield Warning(
            f"The channel layer {alias!r} forgets the members of a group after {group_expiry:g} s.",
            hint=f"Set 'group_expiry' to {_LEAST_GROUP_EXPIRY} or more in its CONFIG, or leave it out. A process joins "
            "its groups again each quarter of it; with less, a short outage leaves members out of their rooms.",
            id="django_etp.W004",
        )
    expiry = _value(kind, config, "expiry")
    if _is_below(expiry, _LEAST_EXPIRY):
        yield Warning(
            f"The channel layer {alias!r} drops messages that are {expiry:g} s old.",
            hint=f"Set 'expiry' to {_LEAST_EXPIRY} or more in its CONFIG, or leave it out. A process that is blocked "
            "for that long loses messages, and so do machines whose clocks differ by that much.",
            id="django_etp.W005",
        )
    timeout = min(filter(None, map(_socket_timeout, _hosts(config))), default=None)
    if _is_below(timeout, _LEAST_SOCKET_TIMEOUT):
        yield Warning(
            f"The channel layer {alias!r} gives up on Redis after {timeout:g} s, but waits {_REDIS_WAIT} s for a "
            "message: each time that none comes, it drops its connection, and loses a message that is on its way.",
            hint=f"Set 'socket_timeout' to {_LEAST_SOCKET_TIMEOUT} or more, and 'socket_connect_timeout' to 2, in each "
            f"of its hosts: {{'address': 'redis://…', 'socket_timeout': {_LEAST_SOCKET_TIMEOUT}, "
            "'socket_connect_timeout': 2}.",
            id="django_etp.W006",
        )


def _is_below(value: object, least: float) -> bool:
    return isinstance(value, int | float) and value < least


def _value(kind: type, config: Mapping[str, Any], name: str) -> Any:
    """Return a layer's value for a key of its CONFIG, or the default of its class if the key is left out."""
    if name in config:
        return config[name]
    for base in inspect.getmro(kind):
        parameter = inspect.signature(base.__init__).parameters.get(name)  # type: ignore[misc]
        if parameter is not None:
            return parameter.default
    return None


def _capacity(kind: type, config: Mapping[str, Any], hub_channel: str) -> Any:
    by_channel = config.get("channel_capacity")
    for pattern, capacity in by_channel.items() if isinstance(by_channel, Mapping) else ():
        matcher = re.compile(fnmatch.translate(pattern)) if isinstance(pattern, str) else pattern
        if matcher.match(hub_channel):
            return capacity
    return _value(kind, config, "capacity")


def _hosts(config: Mapping[str, Any]) -> Iterable[Any]:
    hosts = config.get("hosts")
    return hosts if isinstance(hosts, list | tuple) and hosts else [{}]


def _socket_timeout(host: Any) -> float | None:
    """Return after how many seconds a connection to a host gives up waiting, or ``None`` if it never does."""
    options = dict(host) if isinstance(host, Mapping) else {"address": host}
    address = options.get("address")
    in_address = parse_qs(urlsplit(address).query).get("socket_timeout") if isinstance(address, str) else None
    try:
        if in_address:
            return float(in_address[0])
        default = import_module("redis.asyncio").Connection().socket_timeout  # it connects when it is first used
        timeout = options.get("socket_timeout", default)
        return None if timeout is None else float(timeout)
    except (TypeError, ValueError):
        return None  # redis-py raises the error
