"""The declared rooms of one client: which of them it is in, and their frames."""

from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from django_etp.exceptions import ConnectionClosed, EventFailed, InvalidRoomName
from django_etp.protocol.frames import Event
from django_etp.protocol.rooms import IN, LEAVE, LEFT, PRESENCE, is_later, read_in_room, split_position

from .content import object_in, text_of
from .handlers import ClientHandlers
from .room import ClientRoom

if TYPE_CHECKING:
    from .connection import ClientConnection

__all__ = ["ClientRooms"]


class ClientRooms:
    """The declared rooms of one client.

    Args:
        handlers: the client's handlers, which report errors.
        current: returns the connection.
        ack_timeout: how long an answer may take, in seconds.
    """

    def __init__(self, handlers: ClientHandlers, current: Callable[[], "ClientConnection"], ack_timeout: float) -> None:
        self._handlers = handlers
        self.current = current
        self._ack_timeout = ack_timeout
        self._rooms: dict[str, ClientRoom] = {}
        self._wanted: dict[str, ClientRoom] = {}  # in the order of their joins

    def get(self, name: str, since: str | None) -> ClientRoom:
        """Return the room of a name, the same object each time. See EtpClient.room()."""
        if not name or " " in name or "|" in name:
            raise InvalidRoomName(
                f"The name of a declared room holds no space and no '|', and is not empty: {name!r:.80}"
            )
        if name not in self._rooms:
            self._rooms[name] = ClientRoom(name, self)
        if since is not None and not self._rooms[name].is_wanted:
            self._rooms[name].position = since
        return self._rooms[name]

    def return_to(self, connection: "ClientConnection") -> None:
        """Begin to join the wanted rooms on a new connection."""
        if connection.speaks_rooms:
            for room in self._wanted.values():
                connection.start(room.begin_return(connection))

    def note(self, event: Event) -> None:
        """Look at an event when it is read, before anything that is read later."""
        if event.name == LEFT and (room := self._rooms.get(str(object_in(event).get("room")))):
            room.note_end(_reason_in(event))
        elif room := self._room_of_presence(event):
            room.note_members(event)

    def concerns(self, event: Event) -> bool:
        """Whether an event is one of a room."""
        return event.name == LEFT or event.name.startswith(IN)

    async def answer(self, event: Event) -> object:
        """Process an event of a room, and return the result of its handler."""
        if event.name == LEFT:
            if room := self._rooms.get(str(object_in(event).get("room"))):
                await room.end_noted(_reason_in(event))
        elif room := self._room_of_presence(event):
            await room.report_members()
        elif found := read_in_room(event):
            name, inside = found
            before, position = split_position(name)
            if position and (room := self._wanted.get(before)) and room.has_history:
                if not is_later(position, room.position):
                    return None  # the answer to a second join may repeat it
                room.position = position  # now, and not before: events that wait are dropped if the connection breaks
                return await room.handle(inside)
            if room := self._wanted.get(name):
                return await room.handle(inside)
        return None  # the client has just left

    def _room_of_presence(self, event: Event) -> ClientRoom | None:
        """Return the wanted room whose members an event is about; ``None`` if it is another event."""
        if not event.name.endswith(f" {PRESENCE}"):
            return None
        found = read_in_room(event)
        return self._wanted.get(found[0]) if found is not None and found[1].name == PRESENCE else None

    # Called by the rooms

    def want(self, room: ClientRoom) -> None:
        """Return to a room with each new connection."""
        self._wanted[room.name] = room

    def forget(self, room: ClientRoom) -> None:
        """Return to a room no more."""
        self._wanted.pop(room.name, None)

    async def ask(
        self,
        connection: "ClientConnection",
        name: str,
        data: object,
        timeout: float | None = None,
        answered: Callable[[Event], None] | None = None,
    ) -> Event:
        """Send an event with a name on the wire, and return the answer."""
        return await connection.ask_named(name, data, self._ack_timeout if timeout is None else timeout, answered)

    def read(
        self, connection: "ClientConnection", name: str, data: object, timeout: float | None
    ) -> AsyncGenerator[Event, None]:
        """Send an event with a name on the wire, and yield the parts of its streamed answer."""
        return connection.streams.read(name, text_of(data), self._ack_timeout if timeout is None else timeout)

    async def send_leave(self, connection: "ClientConnection", name: str) -> None:
        """Leave a room that the client may be in, without waiting."""
        with suppress(ConnectionClosed):
            await connection.emit_named(LEAVE, {"room": name})

    async def run_hooks(self, hooks: list[Callable[..., Any]], kind: str, *args: Any) -> None:
        """Run the functions that a room has for something; report the errors that they raise."""
        await self._handlers.run_all(hooks, kind, *args)


def _reason_in(event: Event) -> EventFailed:
    content = object_in(event)
    return EventFailed(str(content.get("code", "")), str(content.get("message", "")), is_from_peer=True)
