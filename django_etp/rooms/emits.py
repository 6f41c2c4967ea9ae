"""The events that a transaction will send, in order, of which later ones may take the place of earlier ones."""

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS
from django.utils.module_loading import import_string

from django_etp.hub.batches import Send
from django_etp.hub.members import HasId, ids
from django_etp.hub.names import room_names
from django_etp.protocol.frames import Event, encode
from django_etp.serialization import TypedEvent, to_parts

__all__ = ["Emit", "EmitOnCommit", "Emits"]

_OUTBOX = "django_etp.outbox"


class Emit(Protocol):
    """Something that a transaction will send."""

    def add_to(self, emits: "Emits") -> None:
        """Add it to those before it."""

    def sends(self) -> Iterable[Send]:
        """Return the events that are sent for it."""


@dataclass(frozen=True, slots=True)
class EmitOnCommit:
    """One event, from the checked arguments of emit_on_commit().

    Attributes:
        namespace: that of the rooms.
        rooms: their names, each once.
        event: the event's name.
        text: its payload.
        exclude: ids of connections that do not get it.
        key: with a key it takes the place of an earlier one to the same rooms, with the same name and key.
    """

    namespace: str
    rooms: tuple[str, ...]
    event: str
    text: str
    exclude: frozenset[str]
    key: str | None

    @classmethod
    def create(
        cls,
        namespace: str,
        room_or_rooms: str | Iterable[str],
        event: str | TypedEvent,
        data: object,
        exclude: Iterable[str | HasId] | str | HasId,
        key: object,
    ) -> "EmitOnCommit":
        """Return the emit for a caller's arguments.

        Raises:
            InvalidEventName: the name cannot be an event's.
            InvalidPayload: the data cannot become JSON.
            InvalidRoomName: a name is not a room name, or it is reserved and not from user().
        """
        rooms = tuple(dict.fromkeys(room_names(room_or_rooms)))
        name, text = to_parts(event, data)
        return cls(namespace, rooms, name, text, ids(exclude), None if key is None else str(key))

    @property
    def frame(self) -> str:
        """The frame on the wire."""
        return encode(Event(self.event, 0, self.text))

    def store(self, using: str | None) -> None:
        """Store it in the outbox, as part of the transaction that is open in a database.

        Raises:
            ImproperlyConfigured: the app of the outbox is not installed.
        """
        if not apps.is_installed(_OUTBOX):
            raise ImproperlyConfigured(
                f"durable=True stores events in the app {_OUTBOX!r}, which is not installed: add {_OUTBOX!r} to "
                "INSTALLED_APPS and run 'manage.py migrate'."
            )
        if self.rooms:
            import_string(f"{_OUTBOX}.storing.store")(
                self.namespace,
                self.rooms,
                self.event,
                self.text,
                exclude=tuple(sorted(self.exclude)),
                key=self.key,
                using=using or DEFAULT_DB_ALIAS,
            )

    def add_to(self, emits: "Emits") -> None:
        """Add it to those before it."""
        if self.key is None:
            emits.put(object(), self)
        else:
            emits.put((self.namespace, frozenset(self.rooms), self.event, self.key), self)

    def sends(self) -> Iterable[Send]:
        """Return the event."""
        return [Send(self.namespace, self.rooms, self.frame, self.exclude)]


class Emits:
    """Emits by their identities, in the order in which they were put.

    Attributes:
        counts: how many of a kind there are; the emits themselves count.
    """

    __slots__ = ("_emits", "counts")

    def __init__(self) -> None:
        self._emits: dict[Hashable, Emit] = {}
        self.counts: Counter[Hashable] = Counter()

    def __iter__(self) -> Iterator[Emit]:
        return iter(self._emits.values())

    def get(self, identity: Hashable) -> Emit | None:
        """Return the emit that has an identity."""
        return self._emits.get(identity)

    def put(self, identity: Hashable, emit: Emit) -> None:
        """Add an emit at the end, in place of one with the same identity."""
        self._emits.pop(identity, None)
        self._emits[identity] = emit

    def replace(self, identity: Hashable, emit: Emit) -> None:
        """Let another emit take the place of the one with this identity."""
        self._emits[identity] = emit

    def remove(self, identity: Hashable) -> None:
        """Remove the emit that has an identity, if there is one."""
        self._emits.pop(identity, None)

    def sends(self) -> list[Send]:
        """Return all events, in order."""
        return [send for emit in self for send in emit.sends()]
