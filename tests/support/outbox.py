"""Durable events in the tests: store them, read them, and settings of a site that has an outbox."""

import json
from typing import Any

from django_etp.outbox.models import OutboxEvent
from django_etp.outbox.storing import store

APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "channels",
    "django_etp",
    "django_etp.outbox",
    "tests.site",
]


def keep(
    event: str,
    *rooms: str,
    data: str = "",
    key: str | None = None,
    exclude: tuple[str, ...] = (),
    using: str = "default",
) -> None:
    """Store a durable event for the members of rooms, by default of "lobby"."""
    store("default", rooms or ("lobby",), event, data, exclude=exclude, key=key, using=using)


def row(event: str = "news", *rooms: str, sender: str = "s", data: str = "", **fields: Any) -> OutboxEvent:
    """Return an event as it is stored, which is not saved."""
    return OutboxEvent(
        namespace=fields.pop("namespace", "default"),
        rooms=json.dumps(rooms or ("lobby",)),
        event=event,
        payload=data.encode(),
        exclude=json.dumps(fields.pop("exclude", [])),
        sender=sender,
        **fields,
    )


def stored(using: str = "default") -> list[str]:
    """Return the names of the stored events, in order."""
    return list(OutboxEvent.objects.using(using).order_by("id").values_list("event", flat=True))
