"""System checks: wrong settings, and a channel layer that is missing."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.apps.config import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning

from .conf import find_problems

__all__ = ["check_channel_layer", "check_settings"]


def check_settings(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Report what is wrong with ``ETP``."""
    return [
        Error(problem, hint="See the settings page of the documentation.", id="django_etp.E001")
        for problem in find_problems(getattr(settings, "ETP", {}))
    ]


def check_channel_layer(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Report where the channel layer is missing."""
    values = getattr(settings, "ETP", {})
    alias = values.get("CHANNEL_LAYER", "default") if isinstance(values, Mapping) else "default"
    if not isinstance(alias, str) or alias in getattr(settings, "CHANNEL_LAYERS", {}):
        return []  # what is no alias at all is check_settings' to report
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
