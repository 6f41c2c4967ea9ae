"""A declared room that a test's client has joined."""

from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from typing import Any, Protocol

from django_etp.exceptions import EventFailed
from django_etp.protocol.frames import Event, check_event_name, encode, encode_answer
from django_etp.protocol.past import HISTORY, PastEvent
from django_etp.protocol.rooms import JOIN, LEAVE, LEFT, PRESENCE, in_room, read_in_room, split_position
from django_etp.serialization import to_text

from .inbox import TIMEOUT

__all__ = ["JoinedRoom"]

_Ask = Callable[[str, str, float], Coroutine[Any, Any, Event]]
_Read = Callable[[str, str, float], AsyncGenerator[Event, None]]


class Client(Protocol):
    """The client that has joined."""

    async def send_frame(self, message: str | bytes) -> None:
        """Send a message unchanged."""

    async def expect_event(
        self, name: str | None = None, *, skip_others: bool = False, timeout: float = TIMEOUT
    ) -> Event:
        """Return the next event."""


class JoinedRoom:
    """A declared room that a client has joined with ``EtpCommunicator.join()``.

    Attributes:
        name: the name of the room.
        state: the result of the join handler, as JSON carries it.
        position: the position of the last event, if the room has a history.
        recovered: whether the client gets all that it missed since the position with which it joined.
        members: the entries of a room with presence by their keys, as of the answer to the join and of the changes that
            ``expect_presence()`` has returned. Above ``PRESENCE_LIMIT`` it is incomplete.
        count: how many entries the room has, if there are too many to list them; else ``None``.
    """

    def __init__(self, client: Client, ask: _Ask, read: _Read, name: str, answer: dict[str, Any]) -> None:
        self._ask = ask
        self._read = read
        self.name = name
        self.state = answer["state"]
        self.position: str | None = answer.get("position")
        self.recovered: bool = answer.get("recovered", False)
        self.members: dict[str, dict[str, Any]] = {entry["key"]: entry for entry in answer.get("members", ())}
        self.count: int | None = answer.get("count")
        self._client = client

    @classmethod
    async def join(
        cls, client: Client, ask: _Ask, read: _Read, name: str, since: str | None, timeout: float
    ) -> "JoinedRoom":
        """Join a room. See EtpCommunicator.join()."""
        wanted = {"room": name} if since is None else {"room": name, "since": since}
        answer = await ask(JOIN, to_text(wanted), timeout)
        return cls(client, ask, read, name, answer.json())

    async def emit(self, event: str, data: object = None) -> None:
        """Send an event inside the room that needs no answer."""
        check_event_name(event)
        await self._client.send_frame(encode(Event(in_room(self.name, event), 0, to_text(data))))

    async def emit_with_ack(self, event: str, data: object = None, *, timeout: float = TIMEOUT) -> Event:
        """Send an event inside the room and return the answer. See EtpCommunicator.emit_with_ack()."""
        check_event_name(event)
        return await self._ask(in_room(self.name, event), to_text(data), timeout)

    async def stream(self, event: str, data: object = None, *, timeout: float = TIMEOUT) -> AsyncGenerator[Event, None]:
        """Send an event inside the room, and yield the parts of its streamed answer. See EtpCommunicator.stream().

        Raises:
            EventFailed: the application sent a failure, or the client is in the room no more, maybe after some parts.
        """
        check_event_name(event)
        async with aclosing(self._read(in_room(self.name, event), to_text(data), timeout)) as parts:
            async for part in parts:
                yield part

    async def answer(self, event: Event, data: object = None) -> None:
        """Answer an event that expect_event() returned."""
        inside = Event(in_room(self.name, event.name), event.ack_id, event.data)
        await self._client.send_frame(encode_answer(inside, to_text(data)))

    async def expect_event(
        self, name: str | None = None, *, skip_others: bool = False, timeout: float = TIMEOUT
    ) -> Event:
        """Return the next event that the client gets, which must be one inside this room, by its name in the room.

        With ``skip_others``, return the next event of that name in this room, and drop all events before it.

        Raises:
            AssertionError: another event came, the connection was closed, or nothing came within ``timeout`` seconds.
            TypeError: ``skip_others`` without a name.
        """
        inside = None if name is None else in_room(self.name, name)
        if skip_others:
            event = await self._client.expect_event(inside, skip_others=True, timeout=timeout)
        else:
            event = await self._client.expect_event(timeout=timeout)
        found = read_in_room(event)
        if found is not None and self.position is not None and found[1].name != PRESENCE:
            room, self.position = split_position(found[0])
            found = room, found[1]
        if found is None or found[0] != self.name or name not in (None, found[1].name):
            raise AssertionError(f"Expected the event {name!r} inside the room {self.name!r}, got {event}.")
        return found[1]

    async def expect_presence(self, *, timeout: float = TIMEOUT) -> dict[str, Any]:
        """Return the changes of the entries of the room, which must be the next event that the client gets.

        It is ``{"joined": [...], "changed": [...], "left": [keys]}``, or ``{"count": n}``. See expect_event().
        """
        content: dict[str, Any] = (await self.expect_event(PRESENCE, timeout=timeout)).json()
        self.count = content.get("count")
        for entry in (*content.get("joined", ()), *content.get("changed", ())):
            self.members[entry["key"]] = entry
        for key in content.get("left", ()):
            self.members.pop(key, None)
        return content

    async def expect_left(self, code: str | None = None, *, timeout: float = TIMEOUT) -> EventFailed:
        """Return why the server took the client out of the room, which must be the next that the client gets.

        Raises:
            AssertionError: another event came, or it has another code. See expect_event().
        """
        content = (await self._client.expect_event(LEFT, timeout=timeout)).json()
        if content["room"] != self.name or code not in (None, content["code"]):
            raise AssertionError(f"Expected the end of the room {self.name!r} with the code {code!r}, got {content}.")
        return EventFailed(content["code"], content["message"], is_from_peer=True)

    async def history(self, *, limit: int = 50, before: str | None = None, timeout: float = TIMEOUT) -> list[PastEvent]:
        """Return past events of a room with history, the oldest first: the last ones, or those before a position."""
        answer = await self._ask(HISTORY, to_text({"room": self.name, "limit": limit, "before": before}), timeout)
        return [PastEvent.from_plain(each) for each in answer.json()["events"]]

    async def leave(self, *, timeout: float = TIMEOUT) -> None:
        """Leave the room."""
        await self._ask(LEAVE, to_text({"room": self.name}), timeout)
