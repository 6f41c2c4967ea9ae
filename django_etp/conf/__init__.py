"""The ``ETP`` settings."""

from .settings import (
    EtpSettings,
    ack_timeout,
    checked_timeout,
    find_problems,
    get_settings,
    is_origin_rule,
    question_timeout,
)

__all__ = [
    "EtpSettings",
    "ack_timeout",
    "checked_timeout",
    "find_problems",
    "get_settings",
    "is_origin_rule",
    "question_timeout",
]
