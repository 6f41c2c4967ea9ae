"""The tables of histories: rooms with their last numbers, their events, and the names of durable ones.

Times are whole milliseconds since 1970. Texts that a database may refuse, such as those with a NUL, are in bytes or in
JSON of ASCII characters.
"""

from django.db import models

__all__ = ["HistoryDurableEvent", "HistoryEvent", "HistoryRoom"]


class HistoryRoom(models.Model):
    """A room. A transaction that appends an event has the lock of its row until the commit.

    Attributes:
        name: the name of the room's group, which no other room of the site has.
        epoch: a random name.
        number: the number of the last event.
        at: when that was appended; before the first one, when the room began.
        lifetime: for how long its events are kept.
        prune_at: when events may be too old, or the room itself.
    """

    name = models.CharField(max_length=100, unique=True)
    epoch = models.CharField(max_length=8)
    number = models.BigIntegerField(default=0)
    at = models.BigIntegerField()
    lifetime = models.BigIntegerField(default=0)
    prune_at = models.BigIntegerField(db_index=True)

    class Meta:
        verbose_name = "history of a room"
        verbose_name_plural = "histories of rooms"

    def __str__(self) -> str:
        return f"{self.name} at {self.epoch}.{self.number}"


class HistoryEvent(models.Model):
    """An event.

    Attributes:
        number: its number in the room.
        at: when it was appended.
        text: its frame, as it goes to members.
        exclude: the ids of connections that do not get it, as JSON.
    """

    room = models.ForeignKey(HistoryRoom, models.CASCADE, related_name="events", db_index=False)
    number = models.BigIntegerField()
    at = models.BigIntegerField()
    text = models.BinaryField()
    exclude = models.TextField(default="[]")

    class Meta:
        verbose_name = "event in a history"
        verbose_name_plural = "events in histories"
        constraints = (models.UniqueConstraint(fields=["room", "number"], name="etp_history_event"),)

    def __str__(self) -> str:
        return f"event {self.number} of room {self.room_id}"


class HistoryDurableEvent(models.Model):
    """The name of a durable event that was appended, so that it is appended once."""

    room = models.ForeignKey(HistoryRoom, models.CASCADE, related_name="durable_events", db_index=False)
    number = models.BigIntegerField()
    emission = models.CharField(max_length=64)

    class Meta:
        verbose_name = "durable event in a history"
        verbose_name_plural = "durable events in histories"
        constraints = (models.UniqueConstraint(fields=["room", "emission"], name="etp_history_durable_event"),)

    def __str__(self) -> str:
        return f"{self.emission} of room {self.room_id}"
