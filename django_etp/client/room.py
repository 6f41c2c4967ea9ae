"""A declared room as a client sees it: it joins by name, gets the state, and returns by itself.

Rules kept here:

- A room is wanted from the answer to its first join until ``leave()``, a refusal, or ``__left``. Each new connection
  joins the wanted rooms first, in the order of their first joins.
- A join that was refused, or that timed out, leaves the client outside, and a return that was refused ends the room:
  ``on_left`` gets the reason. A refusal with a time to try again does not: the client returns then.
- The ``on_state`` functions of a join begin before the handlers of the room's events that follow it.
- In a room with history the client keeps the position of the last event that it got. A return asks for those after it,
  and an event that is not after the position is dropped.
- What is sent inside a room waits for a return that is under way: the server would refuse it.
- The end of the membership ends the streamed answers inside the room.
"""

import asyncio
import math
from collections import deque
from collections.abc import AsyncGenerator, Coroutine, Mapping
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any, Self

from django_etp.exceptions import AckTimeout, ConnectionClosed, EtpError, EventFailed
from django_etp.protocol.frames import Event, check_event_name
from django_etp.protocol.past import HISTORY, PastEvent
from django_etp.protocol.rooms import JOIN, LEAVE, in_room

from .content import object_in
from .members import Members
from .room_handlers import RoomHandlers

if TYPE_CHECKING:
    from .connection import ClientConnection
    from .rooms import ClientRooms

__all__ = ["ClientRoom"]


class ClientRoom(RoomHandlers):
    """A declared room of the server; an async context manager that joins and leaves it. See ``EtpClient.room()``."""

    def __init__(self, name: str, rooms: "ClientRooms") -> None:
        super().__init__()
        self.name = name
        self._rooms = rooms
        self._members = Members()
        # The connection on which the room is joined, or was last; None if the room is not wanted.
        self._connection: ClientConnection | None = None
        self._returning: asyncio.Future[None] | None = None
        self._joining: ClientConnection | None = None
        self._leaves = 0
        # In a room with history, the position after which the client has missed events, if it is away.
        self.position: str | None = None
        self.has_history = False
        self._joins = 0  # those that were answered
        self._ends: deque[int] = deque()  # the joins before each ``__left`` that was read, and is handled in its turn

    def __repr__(self) -> str:
        return f"<ClientRoom {self.name!r}>"

    async def __aenter__(self) -> Self:
        await self.join()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        with suppress(ConnectionClosed):
            await self.leave()

    @property
    def is_joined(self) -> bool:
        """Whether the client is in the room now."""
        return self._connection is not None and self._connection.is_open and self._returning is None

    @property
    def is_wanted(self) -> bool:
        """Whether the client is in the room, or returns to it with the next connection."""
        return self._connection is not None

    @property
    def members(self) -> Mapping[str, dict[str, Any]]:
        """The entries of a room with presence by their keys, a live map: ``key``, ``info``, ``since``, ``connections``.

        It is empty outside of the room, and in a crowded room, which has a ``member_count`` alone.
        """
        return self._members.entries

    @property
    def member_count(self) -> int:
        """How many entries a room with presence has."""
        return self._members.count

    # Joining and sending

    async def join(self, *, timeout: float | None = None) -> Any:
        """Join the room and return its state, as the server's handler returned it; ``None`` if it returned none.

        From then on the client returns to the room after each reconnect. ``timeout`` is in seconds, ``ack_timeout`` by
        default. A second join returns the state as it is then.

        Raises:
            AckTimeout: no answer came in time.
            ConnectionClosed: there is no connection, or it broke before the answer came.
            EventFailed: the server refused it; ``code`` is ``permission_denied``, ``not_found``, ``too_many_rooms`` or
                ``handler_error``.
            EtpError: the server does not speak ``etp.ext.v2``, so it has no declared rooms.
        """
        connection = self._rooms.current()
        if not connection.speaks_rooms:
            raise EtpError("The server has no declared rooms: it does not speak etp.ext.v2.")
        leaves, self._joining = self._leaves, connection
        try:
            answer = await self._ask_to_join(connection, timeout)
        except (AckTimeout, asyncio.CancelledError):
            if self._connection is None and self._leaves == leaves:
                self._leaves += 1  # the answer may still come, and the server may have let the client in
                connection.start(self._rooms.send_leave(connection, self.name))
            raise
        finally:
            self._joining = None
        return answer.get("state")

    async def leave(self) -> None:
        """Leave the room, and return once the server has answered.

        Does nothing if the client is neither in the room nor about to join it.

        From the call on, no handler of the room is started.

        Raises:
            AckTimeout: no answer came in time.
            ConnectionClosed: the connection broke before the answer came; the client does not return to the room.
        """
        connection, self._connection = self._connection or self._joining, None
        if connection is not None:
            connection.streams.end_room(
                self.name, "left", "The client left the room before the answer came.", is_left=True
            )
        self._leaves += 1
        self.position = None
        self._end_return()
        self._rooms.forget(self)
        self._members.clear()
        if connection is not None and connection.is_open:
            await self._rooms.ask(connection, LEAVE, {"room": self.name})

    async def emit(self, event: str, data: object = None) -> None:
        """Send an event inside the room. See EtpClient.emit().

        Raises:
            EtpError: the client is not in the room.
        """
        check_event_name(event)
        connection = await self._joined()
        await connection.emit_named(in_room(self.name, event), data)

    async def emit_with_ack(self, event: str, data: object = None, *, timeout: float | None = None) -> Event:
        """Send an event inside the room, and return the answer to it. See EtpClient.emit_with_ack().

        Raises:
            EtpError: the client is not in the room.
        """
        check_event_name(event)
        connection = await self._joined()
        return await self._rooms.ask(connection, in_room(self.name, event), data, timeout)

    async def stream(
        self, event: str, data: object = None, *, timeout: float | None = None
    ) -> AsyncGenerator[Event, None]:
        """Send an event inside the room, and yield the parts of its streamed answer, as events. See EtpClient.stream().

        Raises:
            EventFailed: the server sent a failure, or took the client out of the room, maybe after some parts; its
                ``code`` is ``left`` if ``leave()`` was called, after which no part comes.
            EtpError: the client is not in the room.
        """
        check_event_name(event)
        connection = await self._joined()
        async with aclosing(self._rooms.read(connection, in_room(self.name, event), data, timeout)) as parts:
            async for part in parts:
                yield part

    async def history(
        self, *, limit: int = 50, before: str | None = None, timeout: float | None = None
    ) -> list[PastEvent]:
        """Return past events of a room with history, the oldest first: the last ones, or those before a position.

        There may be fewer than ``limit``, up to 1,000, since they fit into one message. An empty list is the end.

        Raises:
            AckTimeout, ConnectionClosed: see emit_with_ack().
            EventFailed: the room has no history, ``"not_found"``, or the server cannot read it.
            EtpError: the client is not in the room.
        """
        connection = await self._joined()
        asked = {"room": self.name, "limit": limit, "before": before}
        answer = await self._rooms.ask(connection, HISTORY, asked, timeout)
        return [PastEvent.from_plain(each) for each in answer.json()["events"]]

    # Called by ClientRooms

    def note_members(self, event: Event) -> None:
        """Apply an event about the members, when it is read."""
        if self._connection is not None:
            self._members.change(object_in(event))

    async def report_members(self) -> None:
        """Run the functions of ``on_presence``."""
        await self._rooms.run_hooks(self._hooks["presence"], "on_presence", self.members)

    def begin_return(self, connection: "ClientConnection") -> Coroutine[Any, Any, None]:
        """Join the room on a new connection."""
        self._connection = connection
        self._end_return()
        returning = self._returning = asyncio.get_running_loop().create_future()
        return self._return(connection, returning)

    def note_end(self, reason: EventFailed) -> None:
        """Record that the server has taken the client out. end_noted() follows, behind the events before that."""
        self._ends.append(self._joins)
        if self._connection is not None:
            self._connection.streams.end_room(self.name, reason.code, reason.message)

    async def end_noted(self, reason: EventFailed) -> None:
        """End the membership that note_end() was about. A later one, which the client has joined since, lasts."""
        joins = self._ends.popleft() if self._ends else self._joins
        if joins == self._joins:
            await self.end(reason)
        else:
            await self._rooms.run_hooks(self._hooks["left"], "on_left", reason)

    async def end(self, reason: EventFailed) -> None:
        """Record that the client is in the room no more, and does not return."""
        if self._connection is not None:
            self._connection = self.position = None
            self._rooms.forget(self)
            self._members.clear()
            await self._rooms.run_hooks(self._hooks["left"], "on_left", reason)

    async def _return(self, connection: "ClientConnection", returning: asyncio.Future[None]) -> None:
        try:
            while self._returning is returning:
                try:
                    await self._ask_to_join(connection, math.inf)
                    break
                except EventFailed as refusal:
                    if refusal.retry_after is None:
                        self._end_return()  # the functions of on_left may join again
                        await self.end(refusal)
                    else:
                        await asyncio.sleep(refusal.retry_after)
        except ConnectionClosed:
            pass  # the next connection joins again
        finally:
            if self._returning is returning:
                self._end_return()

    def _end_return(self) -> None:
        """Let what waits for a return look anew: it has ended, or another join or leave() took its place."""
        returning, self._returning = self._returning, None
        if returning is not None:
            returning.set_result(None)

    async def _joined(self) -> "ClientConnection":
        while self._returning is not None:
            await asyncio.shield(self._returning)
        connection = self._rooms.current()
        if connection is not self._connection:
            raise EtpError(f"This client is not in the room {self.name!r:.80}: join it first.")
        return connection

    async def _ask_to_join(self, connection: "ClientConnection", timeout: float | None) -> dict[str, Any]:
        leaves = self._leaves
        content: dict[str, Any] = {}

        def answered(event: Event) -> None:
            content.update(object_in(event))
            self._joins += 1
            if self._leaves == leaves:
                self._connection = connection
                self._end_return()
                self._rooms.want(self)
                state, recovered = content.get("state"), content.get("recovered") is True
                position = content.get("position")
                self.has_history = isinstance(position, str)
                if not recovered:  # else the events after the client's own position follow
                    self.position = position if self.has_history else None
                connection.start(self._rooms.run_hooks(self._hooks["state"], "on_state", state, recovered))
                if self._members.replace(content):
                    connection.start(self.report_members())

        wanted = {"room": self.name} if self.position is None else {"room": self.name, "since": self.position}
        await self._rooms.ask(connection, JOIN, wanted, timeout, answered)
        return content
