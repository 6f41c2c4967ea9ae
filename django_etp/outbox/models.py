"""The tables of the outbox: events that wait to be relayed, and the turn of the relays."""

import json
from datetime import timedelta

from django.db import models
from django.utils import timezone

from django_etp.hub.emissions import RELAYED

__all__ = ["OutboxEvent", "RelayTurn"]


class OutboxEvent(models.Model):
    """A durable event. The relay sends events in the order of their ids, and removes them.

    Texts that a database may refuse, such as those with a NUL, are in JSON of ASCII characters, or in bytes.

    Attributes:
        rooms: the names of the rooms, as JSON.
        payload: the event's data as it goes over the wire.
        exclude: the ids of connections that do not get it, as JSON.
        sender: names the thread that stored it: events of one sender to one room arrive in order.
        key: names the events of one transaction that replace one another, if it has a key.
        attempts: how often the relay failed to send it.
        retry_at: when the relay tries again, if it failed.
        failed_at: when the relay gave up.
        error: why the last attempt failed.
    """

    id = models.BigAutoField(primary_key=True)
    namespace = models.TextField()
    rooms = models.TextField()
    event = models.TextField()
    payload = models.BinaryField()
    exclude = models.TextField()
    sender = models.CharField(max_length=40)
    key = models.CharField(max_length=40, null=True, db_index=True)  # noqa: DJ001  (a NULL is left out of few indexes)
    created_at = models.DateTimeField(default=timezone.now)
    attempts = models.PositiveSmallIntegerField(default=0)
    retry_at = models.DateTimeField(null=True)
    failed_at = models.DateTimeField(null=True)
    error = models.TextField(default="")

    class Meta:
        verbose_name = "outbox event"

    def __str__(self) -> str:
        return f"{self.event} to {', '.join(self.room_names)}"

    @property
    def room_names(self) -> list[str]:
        """The names of the rooms."""
        return [str(room) for room in json.loads(self.rooms)]

    @property
    def emission(self) -> str:
        """A name that no other relayed event has, not even one with the same id after the table was emptied."""
        return f"{RELAYED}{self.pk}.{self.created_at.timestamp() * 1_000_000:.0f}"

    @property
    def age(self) -> timedelta:
        """How long ago it was stored."""
        return timezone.now() - self.created_at


class RelayTurn(models.Model):
    """The one row that names the relay which sends the events of this database, and until when.

    Attributes:
        hubs: the ids of the hubs of other processes with connections, at its last wave, as JSON.
    """

    id = models.PositiveSmallIntegerField(primary_key=True)
    holder = models.CharField(max_length=40)
    ends_at = models.DateTimeField()
    hubs = models.TextField(default="[]")

    class Meta:
        verbose_name = "relay turn"
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.holder} until {self.ends_at}"
