"""System checks of the store of histories: it can be made, and all processes share it.

The checks make no store and open no connection.
"""

import inspect
from collections.abc import Callable, Sequence

from channels.layers import InMemoryChannelLayer
from django.apps.config import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from django_etp.conf import find_problems, get_settings

from .backends import store_class
from .memory import MemoryHistory

__all__ = ["check_histories"]


def check_histories(has_histories: Callable[[], bool]) -> Callable[..., list[CheckMessage]]:
    """Return the check; ``has_histories`` returns whether a declared room has a history."""

    def check(app_configs: Sequence[AppConfig] | None, **kwargs: object) -> list[CheckMessage]:
        if find_problems(getattr(settings, "ETP", {})) or not (has_histories() or get_settings().history):
            return []
        try:
            kind = store_class()
            inspect.signature(kind).bind(**get_settings().history.get("OPTIONS", {}))
        except (ImproperlyConfigured, TypeError) as error:
            return [
                Error(
                    f"The store of histories cannot be made: {error}",
                    hint="Correct ETP['HISTORY']: 'BACKEND' is the dotted path of a class, such as "
                    "'django_etp.history.RedisHistory', and 'OPTIONS' are its arguments, such as {'url': ...}.",
                    id="django_etp.E401",
                )
            ]
        return [_not_shared()] if kind is MemoryHistory and has_histories() and _spans_processes() else []

    return check


def _spans_processes() -> bool:
    """Return whether the channel layer of the rooms is for several processes, as far as its class shows."""
    layers = getattr(settings, "CHANNEL_LAYERS", {})
    try:
        kind = import_string(layers[get_settings().channel_layer]["BACKEND"])
    except (ImportError, TypeError, KeyError, AttributeError):  # there is none, or another check reports it
        return False
    return not (isinstance(kind, type) and issubclass(kind, InMemoryChannelLayer))


def _not_shared() -> CheckMessage:
    return Warning(
        "The histories of rooms are in memory, and the channel layer is for several processes: each process has "
        "histories of its own, so clients that return to another process miss events.",
        hint="Set ETP['HISTORY'] to a store that processes share: 'django_etp.history.RedisHistory' or "
        "'django_etp.history.DatabaseHistory'.",
        id="django_etp.W401",
    )
