"""The findings of an examination: the expectation of each check, the outcome and the remedy."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

__all__ = ["Finding", "Status", "failure", "ok", "skipped", "warning"]


class Status(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check.

    Attributes:
        check: the name of the check.
        status: how it ended.
        expected: the behaviour of a healthy deployment.
        came: the behaviour of this one.
        remedy: the cure of the difference; ``""`` if there is none.
        figures: the measurements, for programs.
    """

    check: str
    status: Status
    expected: str
    came: str
    remedy: str = ""
    figures: Mapping[str, Any] = field(default_factory=dict)


def ok(check: str, expected: str, came: str, **figures: Any) -> Finding:
    """Return the finding that all is as expected."""
    return Finding(check, Status.OK, expected, came, figures=figures)


def warning(check: str, expected: str, came: str, remedy: str, **figures: Any) -> Finding:
    """Return the finding of something that works, but not well."""
    return Finding(check, Status.WARNING, expected, came, remedy, figures)


def failure(check: str, expected: str, came: str, remedy: str, **figures: Any) -> Finding:
    """Return the finding of something that does not work."""
    return Finding(check, Status.FAILURE, expected, came, remedy, figures)


def skipped(check: str, expected: str, reason: str) -> Finding:
    """Return the finding that a check could not be made, or was not asked for."""
    return Finding(check, Status.SKIPPED, expected, reason)
