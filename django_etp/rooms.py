"""Rooms: send to the connections in them, and look at who is there, from anywhere in the process.

``from django_etp import rooms`` gives the rooms of the namespace ``"default"``; ``rooms.of(namespace)`` those of
another. Each call has an ``a``-prefixed coroutine twin with the same arguments: ``await`` that where an event loop
runs, call the bare one from synchronous code. A bare call where an event loop runs raises ``SyncCallInEventLoop``.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from functools import cache
from typing import Any, TypeVar

from .closing import check_close
from .conf import get_settings
from .exceptions import AckTimeout, ConnectionClosed, EtpError
from .groups import check_room_name
from .groups import group_name as _group_name
from .home import arun_on, refuse_in_event_loop, run_on
from .hub import Hub, home_hub
from .members import ConnectionInfo, Member, RoomReply, ids
from .payload import to_frame, to_text
from .protocol import Event

__all__ = ["ConnectionInfo", "RoomReply", "Rooms"]

logger = logging.getLogger(__name__)

_T = TypeVar("_T")
_Rooms = str | Iterable[str]
_Exclude = Iterable[str | Member] | str | Member


class Rooms:
    """The rooms of one namespace."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace

    def __repr__(self) -> str:
        return f"<Rooms of namespace {self.namespace!r}>"

    def group_name(self, room: str) -> str:
        """Return the channel-layer group of a room, for other Channels code that sends to it.

        Such a message is ``{"type": "etp.emit", "room": room, "event": name, "data": data}``, and
        ``"namespace"`` where it is not ``"default"``.

        Raises:
            InvalidRoomName: the room name is not text of at most 1,000 characters.
        """
        return _group_name(self.namespace, room)

    # Sending

    async def aemit(self, room_or_rooms: _Rooms, event: str, data: object = None, *, exclude: _Exclude = ()) -> None:
        """Send an event to all members of one or several rooms, one copy to each.

        ``data`` is sent as it is where it is str, as JSON otherwise, not at all where it is ``None``. ``exclude``
        holds connections, or their ids, that get none. It never waits for a member.

        Raises:
            InvalidEventName: the name is not for events.
            InvalidPayload: the data cannot become JSON.
            InvalidRoomName: a name is no room name; nothing was sent.
            LayerUnavailable: the send was not confirmed; members of this process have had the event already.
        """
        await self._ahop(_emit, self.namespace, _room_names(room_or_rooms), to_frame(event, data), ids(exclude))

    def emit(self, room_or_rooms: _Rooms, event: str, data: object = None, *, exclude: _Exclude = ()) -> None:
        """See aemit()."""
        self._hop("emit", _emit, self.namespace, _room_names(room_or_rooms), to_frame(event, data), ids(exclude))

    async def abroadcast(self, event: str, data: object = None, *, exclude: _Exclude = ()) -> None:
        """Send an event to all connections of the namespace. See aemit()."""
        await self._ahop(_emit, self.namespace, None, to_frame(event, data), ids(exclude))

    def broadcast(self, event: str, data: object = None, *, exclude: _Exclude = ()) -> None:
        """See abroadcast()."""
        self._hop("broadcast", _emit, self.namespace, None, to_frame(event, data), ids(exclude))

    async def aemit_to(self, connection_id: str, event: str, data: object = None) -> None:
        """Send an event to one connection; silent where it is gone. See aemit()."""
        await self._ahop(_emit_to, self.namespace, connection_id, to_frame(event, data))

    def emit_to(self, connection_id: str, event: str, data: object = None) -> None:
        """See aemit_to()."""
        self._hop("emit_to", _emit_to, self.namespace, connection_id, to_frame(event, data))

    async def aemit_with_ack(
        self, room_or_rooms: _Rooms, event: str, data: object = None, *, timeout: float | None = None
    ) -> list[RoomReply]:
        """Send an event to all members of one or several rooms and return what became of it at each.

        ``timeout`` is what each member has to answer, in seconds, the setting ``ACK_TIMEOUT`` by default.
        See aemit() for what is raised.
        """
        rooms, text, seconds = _room_names(room_or_rooms), _checked(event, data), _ack_seconds(timeout)
        replies = await self._ahop(_ask, self.namespace, rooms, event, text, seconds, timeout=seconds)
        return replies or []

    def emit_with_ack(
        self, room_or_rooms: _Rooms, event: str, data: object = None, *, timeout: float | None = None
    ) -> list[RoomReply]:
        """See aemit_with_ack()."""
        rooms, text, seconds = _room_names(room_or_rooms), _checked(event, data), _ack_seconds(timeout)
        replies = self._hop("emit_with_ack", _ask, self.namespace, rooms, event, text, seconds, timeout=seconds)
        return replies or []

    async def aemit_to_with_ack(
        self, connection_id: str, event: str, data: object = None, *, timeout: float | None = None
    ) -> Event:
        """Send an event to one connection and return its answer.

        ``timeout`` is in seconds, the setting ``ACK_TIMEOUT`` by default.

        Raises:
            AckTimeout: no answer came in time.
            ConnectionClosed: the connection is gone, or closed before the answer came.
            InvalidEventName: the name is not for events.
            InvalidPayload: the data cannot become JSON.
        """
        text, seconds = _checked(event, data), _ack_seconds(timeout)
        return _found(
            connection_id,
            await self._ahop(_ask_one, self.namespace, connection_id, event, text, seconds, timeout=seconds),
        )

    def emit_to_with_ack(
        self, connection_id: str, event: str, data: object = None, *, timeout: float | None = None
    ) -> Event:
        """See aemit_to_with_ack()."""
        text, seconds = _checked(event, data), _ack_seconds(timeout)
        return _found(
            connection_id,
            self._hop(
                "emit_to_with_ack",
                _ask_one,
                self.namespace,
                connection_id,
                event,
                text,
                seconds,
                timeout=seconds,
            ),
        )

    # Membership

    async def ajoin(self, connection_or_id: str | Member, *rooms: str, timeout: float | None = None) -> None:
        """Let a connection join rooms.

        Raises:
            ConnectionClosed: the connection is gone.
            InvalidRoomName: a name is no room name; nothing was joined.
        """
        connection_id, names = _id(connection_or_id), _room_names(rooms)
        _found(connection_id, await self._aquestion(timeout, _join, self.namespace, connection_id, names))

    def join(self, connection_or_id: str | Member, *rooms: str, timeout: float | None = None) -> None:
        """See ajoin()."""
        connection_id, names = _id(connection_or_id), _room_names(rooms)
        _found(connection_id, self._question("join", timeout, _join, self.namespace, connection_id, names))

    async def aleave(self, connection_or_id: str | Member, *rooms: str, timeout: float | None = None) -> None:
        """Let a connection leave rooms; it need not be in them.

        Raises:
            ConnectionClosed: the connection is gone.
        """
        connection_id, names = _id(connection_or_id), _room_names(rooms)
        _found(connection_id, await self._aquestion(timeout, _leave, self.namespace, connection_id, names))

    def leave(self, connection_or_id: str | Member, *rooms: str, timeout: float | None = None) -> None:
        """See aleave()."""
        connection_id, names = _id(connection_or_id), _room_names(rooms)
        _found(connection_id, self._question("leave", timeout, _leave, self.namespace, connection_id, names))

    async def aclear(self, *rooms: str, timeout: float | None = None) -> None:
        """Let all members leave these rooms."""
        await self._aquestion(timeout, _clear, self.namespace, _room_names(rooms))

    def clear(self, *rooms: str, timeout: float | None = None) -> None:
        """See aclear()."""
        self._question("clear", timeout, _clear, self.namespace, _room_names(rooms))

    # Looking

    async def acount(self, room: str, *, timeout: float | None = None) -> int:
        """Return how many connections are in a room."""
        return await self._aquestion(timeout, _count, self.namespace, _room_name(room)) or 0

    def count(self, room: str, *, timeout: float | None = None) -> int:
        """See acount()."""
        return self._question("count", timeout, _count, self.namespace, _room_name(room)) or 0

    async def anames(self, *, timeout: float | None = None) -> list[str]:
        """Return the names of all rooms that have a member, sorted."""
        return await self._aquestion(timeout, _names, self.namespace) or []

    def names(self, *, timeout: float | None = None) -> list[str]:
        """See anames()."""
        return self._question("names", timeout, _names, self.namespace) or []

    async def amembers(self, room: str, *, timeout: float | None = None) -> list[ConnectionInfo]:
        """Return the connections in a room."""
        return await self._aquestion(timeout, _infos, self.namespace, _room_name(room)) or []

    def members(self, room: str, *, timeout: float | None = None) -> list[ConnectionInfo]:
        """See amembers()."""
        return self._question("members", timeout, _infos, self.namespace, _room_name(room)) or []

    async def aconnections(self, *, timeout: float | None = None) -> list[ConnectionInfo]:
        """Return all connections of the namespace."""
        return await self._aquestion(timeout, _infos, self.namespace, None) or []

    def connections(self, *, timeout: float | None = None) -> list[ConnectionInfo]:
        """See aconnections()."""
        return self._question("connections", timeout, _infos, self.namespace, None) or []

    async def aget(self, connection_id: str, *, timeout: float | None = None) -> ConnectionInfo | None:
        """Return what is known of a connection; ``None`` where it is gone."""
        return await self._aquestion(timeout, _get, self.namespace, connection_id)

    def get(self, connection_id: str, *, timeout: float | None = None) -> ConnectionInfo | None:
        """See aget()."""
        return self._question("get", timeout, _get, self.namespace, connection_id)

    # Ending

    async def adisconnect(
        self, connection_id: str, code: int = 1000, reason: str = "", *, timeout: float | None = None
    ) -> None:
        """Close a connection.

        Raises:
            ConnectionClosed: it is gone already.
            InvalidCloseCode: RFC 6455 does not let an endpoint send this code, or the reason is over 123 bytes.
        """
        check_close(code, reason)
        _found(connection_id, await self._aquestion(timeout, _disconnect, self.namespace, connection_id, code, reason))

    def disconnect(
        self, connection_id: str, code: int = 1000, reason: str = "", *, timeout: float | None = None
    ) -> None:
        """See adisconnect()."""
        check_close(code, reason)
        _found(
            connection_id,
            self._question("disconnect", timeout, _disconnect, self.namespace, connection_id, code, reason),
        )

    async def ashutdown(self, code: int = 1001, reason: str = "", *, timeout: float | None = None) -> None:
        """Close all connections of the namespace. See adisconnect() for what is raised."""
        check_close(code, reason)
        await self._aquestion(timeout, _shutdown, self.namespace, code, reason)

    def shutdown(self, code: int = 1001, reason: str = "", *, timeout: float | None = None) -> None:
        """See ashutdown()."""
        check_close(code, reason)
        self._question("shutdown", timeout, _shutdown, self.namespace, code, reason)

    # The way to the hub

    async def _ahop(
        self, function: Callable[..., Coroutine[Any, Any, _T]], *args: Any, timeout: float = 0.0
    ) -> _T | None:
        hub = home_hub()
        if hub is None:
            _say_nobody_is_here()
            return None
        return await arun_on(hub.loop, function, hub, *args, timeout=timeout)

    def _hop(
        self, name: str, function: Callable[..., Coroutine[Any, Any, _T]], *args: Any, timeout: float = 0.0
    ) -> _T | None:
        refuse_in_event_loop(name)
        hub = home_hub()
        if hub is None:
            _say_nobody_is_here()
            return None
        return run_on(hub.loop, function, hub, *args, timeout=timeout)

    async def _aquestion(
        self, timeout: float | None, function: Callable[..., Coroutine[Any, Any, _T]], *args: Any
    ) -> _T | None:
        return await self._ahop(function, *args, timeout=_question_seconds(timeout))

    def _question(
        self, name: str, timeout: float | None, function: Callable[..., Coroutine[Any, Any, _T]], *args: Any
    ) -> _T | None:
        return self._hop(name, function, *args, timeout=_question_seconds(timeout))


# What is done at the hub, on its loop


async def _emit(hub: Hub, namespace: str, rooms: list[str] | None, frame: str, exclude: frozenset[str]) -> None:
    hub.deliver(namespace, rooms, frame, exclude)
    await hub.let_turn()


async def _emit_to(hub: Hub, namespace: str, connection_id: str, frame: str) -> None:
    if member := hub.member(namespace, connection_id):
        member.deliver(frame)
    await hub.let_turn()


async def _ask(hub: Hub, namespace: str, rooms: list[str], event: str, data: str, timeout: float) -> list[RoomReply]:
    members = {member.id: member for room in rooms for member in hub.members(namespace, room)}
    return list(await asyncio.gather(*(_reply(member, event, data, timeout) for member in members.values())))


async def _reply(member: Member, event: str, data: str, timeout: float) -> RoomReply:
    try:
        return RoomReply(member.id, "answered", await member.ask(event, data, timeout))
    except AckTimeout:
        return RoomReply(member.id, "timed_out")
    except ConnectionClosed:
        return RoomReply(member.id, "gone")
    except EtpError:
        return RoomReply(member.id, "failed")


async def _ask_one(hub: Hub, namespace: str, connection_id: str, event: str, data: str, timeout: float) -> Event | None:
    member = hub.member(namespace, connection_id)
    return None if member is None else await member.ask(event, data, timeout)


async def _join(hub: Hub, namespace: str, connection_id: str, rooms: list[str]) -> bool | None:
    if (member := hub.member(namespace, connection_id)) is None:
        return None
    await hub.join(member, rooms)
    return True


async def _leave(hub: Hub, namespace: str, connection_id: str, rooms: list[str]) -> bool | None:
    if (member := hub.member(namespace, connection_id)) is None:
        return None
    await hub.leave(member, rooms)
    return True


async def _clear(hub: Hub, namespace: str, rooms: list[str]) -> None:
    await hub.clear(namespace, rooms)


async def _count(hub: Hub, namespace: str, room: str) -> int:
    return len(hub.members(namespace, room))


async def _names(hub: Hub, namespace: str) -> list[str]:
    return hub.names(namespace)


async def _infos(hub: Hub, namespace: str, room: str | None) -> list[ConnectionInfo]:
    return hub.infos(namespace, room)


async def _get(hub: Hub, namespace: str, connection_id: str) -> ConnectionInfo | None:
    member = hub.member(namespace, connection_id)
    return member.info if member is not None and member.is_accepted else None


async def _disconnect(hub: Hub, namespace: str, connection_id: str, code: int, reason: str) -> bool | None:
    if (member := hub.member(namespace, connection_id)) is None:
        return None
    await member.aclose(code, reason)
    return True


async def _shutdown(hub: Hub, namespace: str, code: int, reason: str) -> None:
    for member in hub.members(namespace):
        await member.aclose(code, reason)


# What callers pass


def _room_name(room: str) -> str:
    check_room_name(room)
    return room


def _room_names(room_or_rooms: _Rooms) -> list[str]:
    rooms = [room_or_rooms] if isinstance(room_or_rooms, str) else list(room_or_rooms)
    for room in rooms:
        check_room_name(room)
    return rooms


def _id(connection_or_id: str | Member) -> str:
    return connection_or_id if isinstance(connection_or_id, str) else connection_or_id.id


def _checked(event: str, data: object) -> str:
    """Return the wire text of the data, once the event is known to be one that can be sent."""
    text = to_text(data)
    to_frame(event, text)
    return text


def _ack_seconds(timeout: float | None) -> float:
    return get_settings().ack_timeout if timeout is None else timeout


def _question_seconds(timeout: float | None) -> float:
    return get_settings().question_timeout if timeout is None else timeout


def _found(connection_id: str, result: _T | None) -> _T:
    if result is None:
        raise ConnectionClosed(f"Connection {connection_id!r:.120} is gone, or never was.")
    return result


@cache
def _say_nobody_is_here() -> None:
    """Say so in the log, once per process."""
    logger.warning(
        "A room send or question came to nobody: this process serves no connection, and the channel layer is in "
        "memory, so that no other process hears it. Use a layer that spans processes, such as channels-redis."
    )


@cache
def of(namespace: str) -> Rooms:
    """Return the rooms of a namespace."""
    return Rooms(namespace)


_default = of("default")
group_name = _default.group_name
emit, aemit = _default.emit, _default.aemit
broadcast, abroadcast = _default.broadcast, _default.abroadcast
emit_to, aemit_to = _default.emit_to, _default.aemit_to
emit_with_ack, aemit_with_ack = _default.emit_with_ack, _default.aemit_with_ack
emit_to_with_ack, aemit_to_with_ack = _default.emit_to_with_ack, _default.aemit_to_with_ack
join, ajoin = _default.join, _default.ajoin
leave, aleave = _default.leave, _default.aleave
clear, aclear = _default.clear, _default.aclear
count, acount = _default.count, _default.acount
names, anames = _default.names, _default.anames
members, amembers = _default.members, _default.amembers
connections, aconnections = _default.connections, _default.aconnections
get, aget = _default.get, _default.aget
disconnect, adisconnect = _default.disconnect, _default.adisconnect
shutdown, ashutdown = _default.shutdown, _default.ashutdown
