"""System checks of the ``ETP`` settings."""

from collections.abc import Sequence
from typing import Any

from django.apps.config import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error

from django_etp.conf import find_problems

__all__ = ["check_settings"]


def check_settings(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Report each problem of the ``ETP`` settings."""
    return [
        Error(problem, hint="See the settings page of the documentation.", id="django_etp.E001")
        for problem in find_problems(getattr(settings, "ETP", {}))
    ]
