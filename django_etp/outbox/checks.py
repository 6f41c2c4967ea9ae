"""The system check of stored events, which runs if databases are checked: ``manage.py check --database default``."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.apps.config import AppConfig
from django.core.checks import CheckMessage, Warning
from django.db import Error

from . import rows

__all__ = ["check_outbox"]

# A relay sends an event within a second; while the channel layer is down, events wait longer.
_LARGEST_LAG = timedelta(minutes=1)


def check_outbox(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Report events that could not be sent, and events that no relay sends."""
    problems: list[CheckMessage] = []
    for using in databases or ():
        if using not in rows.databases():
            continue
        try:
            found = rows.summarize(using)
        except Error:
            continue  # migrate runs this check before the tables are there
        if found.failed:
            problems.append(
                Warning(
                    f"{found.failed} durable events in the database {using!r} could not be sent in 20 attempts, and "
                    "are kept.",
                    hint="See manage.py etp_outbox; it can send them again (--retry) or remove them (--discard).",
                    id="django_etp.W201",
                )
            )
        if found.lag > _LARGEST_LAG:
            problems.append(
                Warning(
                    f"{found.waiting} durable events wait in the database {using!r}, the oldest for "
                    f"{found.lag.total_seconds():.0f} s: no relay runs, or it cannot send.",
                    hint="Server processes relay while they run, and so does manage.py etp_relay. Their logs have the "
                    "reason if the channel layer or the database is out of order.",
                    id="django_etp.W202",
                )
            )
    return problems
