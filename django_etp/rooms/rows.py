"""Changes of the rows of a model in one transaction, as one event for each row.

Rules kept here:

- The events of a room describe the rows that belong to it. A row that comes from another room is created there, and one
  that leaves for another is deleted.
- Changes of a row add up: created and updated is created, created and deleted is nothing, deleted and created is
  updated.
- The event has the place and the fields of the last change.
- More than 1,000 changed rows of a model in a room become one event, ``{"change": "many"}``.
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from django_etp.hub.batches import Send
from django_etp.serialization import to_frame, to_text

from .emits import Emits

__all__ = ["RowChange", "Rows"]

_MOST_ROWS = 1000
_NAMES = {(False, True): "created", (True, True): "updated", (True, False): "deleted"}


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """The rows of one model that are described by one kind of event.

    Attributes:
        event: the event's name.
        namespace: that of the rooms.
    """

    event: str
    namespace: str = "default"

    def frame(self, change: str, text: str) -> str:
        """Return the frame of a change, with the text of a JSON object for its other keys."""
        return to_frame(self.event, f'{{"change":"{change}",{text[1:]}')


@dataclass(frozen=True, slots=True)
class RowChange:
    """A change of one row.

    Attributes:
        rows: the rows that it is one of.
        pk: its primary key.
        rooms: whether it belonged to a room before, and whether it does now, by the names of the rooms.
        text: a JSON object with the row's key and fields.
    """

    rows: Rows
    pk: Hashable
    rooms: Mapping[str, tuple[bool, bool]]
    text: str

    @classmethod
    def create(cls, rows: Rows, pk: Hashable, before: Iterable[str], now: Iterable[str], fields: object) -> "RowChange":
        """Return the change of a row that belonged to some rooms ``before``, and belongs to others ``now``.

        Raises:
            InvalidPayload: the key or the fields cannot become JSON.
        """
        rooms = {room: (room in before, room in now) for room in dict.fromkeys([*now, *before])}
        return cls(rows, pk, rooms, to_text({"pk": pk, "fields": fields}))

    def add_to(self, emits: Emits) -> None:
        """Add it to those before it."""
        earlier = emits.get(self._identity)
        rooms = dict(earlier.rooms) if isinstance(earlier, RowChange) else {}
        full = []
        for room, (before, now) in self.rooms.items():
            many = ManyRows(self.rows, room)
            if emits.get(many) is not None:
                emits.put(many, many)
                continue
            emits.counts[many] += room not in rooms
            rooms[room] = rooms.get(room, (before, now))[0], now
            if rooms[room] == (False, False):
                del rooms[room]
                emits.counts[many] -= 1
            if emits.counts[many] > _MOST_ROWS:
                full.append(many)
        if rooms:
            emits.put(self._identity, RowChange(self.rows, self.pk, rooms, self.text))
        else:
            emits.remove(self._identity)
        for many in full:
            many.add_to(emits)

    def sends(self) -> Iterator[Send]:
        """Return an event for each kind of change."""
        for states, name in _NAMES.items():
            rooms = tuple(room for room, each in self.rooms.items() if each == states)
            if rooms:
                text = to_text({"pk": self.pk, "fields": {}}) if name == "deleted" else self.text
                yield Send(self.rows.namespace, rooms, self.rows.frame(name, text))

    def leave(self, room: str, emits: Emits) -> None:
        """Let the change be for other rooms only; if there are none, remove it."""
        if rooms := {each: self.rooms[each] for each in self.rooms if each != room}:
            emits.replace(self._identity, RowChange(self.rows, self.pk, rooms, self.text))
        else:
            emits.remove(self._identity)

    @property
    def _identity(self) -> Hashable:
        return self.rows, self.pk


@dataclass(frozen=True, slots=True)
class ManyRows:
    """Many rows changed: it takes the place of their own events in a room."""

    rows: Rows
    room: str

    def add_to(self, emits: Emits) -> None:
        """Add it, and remove the events of single rows."""
        for emit in tuple(emits):
            if isinstance(emit, RowChange) and emit.rows is self.rows and self.room in emit.rooms:
                emit.leave(self.room, emits)
        emits.put(self, self)

    def sends(self) -> Iterable[Send]:
        """Return the event."""
        return [Send(self.rows.namespace, (self.room,), to_frame(self.rows.event, {"change": "many"}))]
