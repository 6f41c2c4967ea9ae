"""Rooms: send to the connections in them, and look at who is there, from anywhere in the process.

``from django_etp import rooms`` gives the rooms of the namespace ``"default"``; ``rooms.of(namespace)`` those of
another. Each call has an ``a``-prefixed coroutine twin with the same arguments: ``await`` that where an event loop
runs, call the bare one from synchronous code. A bare call where an event loop runs raises ``SyncCallInEventLoop``.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, TypeVar, cast

from .actions import read_event, read_info, read_reply
from .closing import check_close
from .conf import get_settings
from .data import ConnectionData, from_json
from .exceptions import AckTimeout, ConnectionClosed, EtpError, IncompleteAnswer
from .groups import check_can_join, check_room_name, user_room
from .groups import group_name as _group_name
from .home import home_hub
from .hub import Hub, hub_of
from .loops import arun_on, refuse_in_event_loop, run_on
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
        return _group_name(self.namespace, _room_name(room))

    def user(self, user: Any) -> str:
        """Return the room that all connections of a user are in, on all devices and in all processes.

        ``user`` is a user of Django's, or its primary key. Nobody joins or leaves such a room by name.
        """
        return user_room(getattr(user, "pk", user))

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
        await self._asend(Hub.send, _room_names(room_or_rooms), to_frame(event, data), ids(exclude))

    def emit(self, room_or_rooms: _Rooms, event: str, data: object = None, *, exclude: _Exclude = ()) -> None:
        """See aemit()."""
        self._send("emit", Hub.send, _room_names(room_or_rooms), to_frame(event, data), ids(exclude))

    async def abroadcast(self, event: str, data: object = None, *, exclude: _Exclude = ()) -> None:
        """Send an event to all connections of the namespace. See aemit()."""
        await self._asend(Hub.send, None, to_frame(event, data), ids(exclude))

    def broadcast(self, event: str, data: object = None, *, exclude: _Exclude = ()) -> None:
        """See abroadcast()."""
        self._send("broadcast", Hub.send, None, to_frame(event, data), ids(exclude))

    async def aemit_to(self, connection_id: str, event: str, data: object = None) -> None:
        """Send an event to one connection; silent where it is gone. See aemit()."""
        await self._asend(Hub.send_to, connection_id, to_frame(event, data))

    def emit_to(self, connection_id: str, event: str, data: object = None) -> None:
        """See aemit_to()."""
        self._send("emit_to", Hub.send_to, connection_id, to_frame(event, data))

    async def aemit_with_ack(
        self, room_or_rooms: _Rooms, event: str, data: object = None, *, timeout: float | None = None
    ) -> list[RoomReply]:
        """Send an event to all members of one or several rooms and return what became of it at each.

        ``timeout`` is what each member has to answer, in seconds, the setting ``ACK_TIMEOUT`` by default.

        Raises:
            IncompleteAnswer: a process gave no answer; the replies from the others are in ``answer``.
            InvalidEventName, InvalidPayload, InvalidRoomName, LayerUnavailable: see aemit().
        """
        return await self._aask(_room_question(room_or_rooms, event, data, timeout))

    def emit_with_ack(
        self, room_or_rooms: _Rooms, event: str, data: object = None, *, timeout: float | None = None
    ) -> list[RoomReply]:
        """See aemit_with_ack()."""
        return self._ask("emit_with_ack", _room_question(room_or_rooms, event, data, timeout))

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
            LayerUnavailable: the connection's process could not be asked.
        """
        return await self._aask(_connection_question(connection_id, event, data, timeout))

    def emit_to_with_ack(
        self, connection_id: str, event: str, data: object = None, *, timeout: float | None = None
    ) -> Event:
        """See aemit_to_with_ack()."""
        return self._ask("emit_to_with_ack", _connection_question(connection_id, event, data, timeout))

    # Membership

    async def ajoin(self, connection_or_id: str | Member, *rooms: str, timeout: float | None = None) -> None:
        """Let a connection join rooms.

        ``timeout`` is what its process has to answer, in seconds, the setting ``QUESTION_TIMEOUT`` by default.

        Raises:
            ConnectionClosed: the connection is gone.
            IncompleteAnswer: its process gave no answer in time.
            InvalidRoomName: a name is no room name; nothing was joined.
            LayerUnavailable: its process could not be asked.
        """
        await self._aask(_command("join", _id(connection_or_id), timeout, _joinable(rooms)))

    def join(self, connection_or_id: str | Member, *rooms: str, timeout: float | None = None) -> None:
        """See ajoin()."""
        self._ask("join", _command("join", _id(connection_or_id), timeout, _joinable(rooms)))

    async def aleave(self, connection_or_id: str | Member, *rooms: str, timeout: float | None = None) -> None:
        """Let a connection leave rooms; it need not be in them. See ajoin()."""
        await self._aask(_command("leave", _id(connection_or_id), timeout, _joinable(rooms)))

    def leave(self, connection_or_id: str | Member, *rooms: str, timeout: float | None = None) -> None:
        """See aleave()."""
        self._ask("leave", _command("leave", _id(connection_or_id), timeout, _joinable(rooms)))

    async def aclear(self, *rooms: str, timeout: float | None = None) -> None:
        """Let all members leave these rooms. See amembers() for ``timeout`` and what is raised."""
        await self._aask(_question("clear", timeout, _nothing, _room_names(rooms)))

    def clear(self, *rooms: str, timeout: float | None = None) -> None:
        """See aclear()."""
        self._ask("clear", _question("clear", timeout, _nothing, _room_names(rooms)))

    # Looking

    async def acount(self, room: str, *, timeout: float | None = None) -> int:
        """Return how many connections are in a room. See amembers() for ``timeout`` and what is raised."""
        return await self._aask(_question("count", timeout, sum, _room_name(room)))

    def count(self, room: str, *, timeout: float | None = None) -> int:
        """See acount()."""
        return self._ask("count", _question("count", timeout, sum, _room_name(room)))

    async def anames(self, *, timeout: float | None = None) -> list[str]:
        """Return the names of all rooms that have a member, sorted. See amembers()."""
        return await self._aask(_question("names", timeout, _merged))

    def names(self, *, timeout: float | None = None) -> list[str]:
        """See anames()."""
        return self._ask("names", _question("names", timeout, _merged))

    async def amembers(self, room: str, *, timeout: float | None = None) -> list[ConnectionInfo]:
        """Return the connections in a room.

        ``timeout`` is what the processes have to answer, in seconds, the setting ``QUESTION_TIMEOUT`` by default.

        Raises:
            IncompleteAnswer: a process gave no answer in time; what the others said is in ``answer``.
            InvalidRoomName: the name is no room name.
            LayerUnavailable: the other processes could not be asked.
        """
        return await self._aask(_question("infos", timeout, _infos, _room_name(room)))

    def members(self, room: str, *, timeout: float | None = None) -> list[ConnectionInfo]:
        """See amembers()."""
        return self._ask("members", _question("infos", timeout, _infos, _room_name(room)))

    async def aconnections(self, *, timeout: float | None = None) -> list[ConnectionInfo]:
        """Return all connections of the namespace. See amembers()."""
        return await self._aask(_question("infos", timeout, _infos, None))

    def connections(self, *, timeout: float | None = None) -> list[ConnectionInfo]:
        """See aconnections()."""
        return self._ask("connections", _question("infos", timeout, _infos, None))

    async def aconnection_ids(self, *, timeout: float | None = None) -> list[str]:
        """Return the ids of the connections of all namespaces. See amembers()."""
        return await self._aask(_question("ids", timeout, _merged))

    def connection_ids(self, *, timeout: float | None = None) -> list[str]:
        """See aconnection_ids()."""
        return self._ask("connection_ids", _question("ids", timeout, _merged))

    async def aget(self, connection_id: str, *, timeout: float | None = None) -> ConnectionInfo | None:
        """Return what is known of a connection; ``None`` where it is gone. See amembers()."""
        return await self._aask(_question("get", timeout, _info_or_none, connection_id, hub=hub_of(connection_id)))

    def get(self, connection_id: str, *, timeout: float | None = None) -> ConnectionInfo | None:
        """See aget()."""
        return self._ask("get", _question("get", timeout, _info_or_none, connection_id, hub=hub_of(connection_id)))

    # Data

    async def adata(self, connection_id: str, *, timeout: float | None = None) -> dict[str, Any]:
        """Return a copy of a connection's data, as its process has it.

        Raises:
            ConnectionClosed: the connection is gone.
            IncompleteAnswer, LayerUnavailable: see ajoin().
        """
        return await self._aask(_data_question("read_data", connection_id, timeout))

    def data(self, connection_id: str, *, timeout: float | None = None) -> dict[str, Any]:
        """See adata()."""
        return self._ask("data", _data_question("read_data", connection_id, timeout))

    async def aupdate_data(
        self, connection_id: str, values: Mapping[str, Any], *, remove: Iterable[str] = (), timeout: float | None = None
    ) -> dict[str, Any]:
        """Set keys of a connection's data and remove others, save it, and return a copy of it.

        Raises:
            ConnectionClosed: the connection is gone.
            TypeError: a key is not str, or a value is not what JSON can hold; nothing was changed.
            IncompleteAnswer, LayerUnavailable: see ajoin().
        """
        changes = _data_changes(values, remove)
        return await self._aask(_data_question("change_data", connection_id, timeout, *changes))

    def update_data(
        self, connection_id: str, values: Mapping[str, Any], *, remove: Iterable[str] = (), timeout: float | None = None
    ) -> dict[str, Any]:
        """See aupdate_data()."""
        changes = _data_changes(values, remove)
        return self._ask("update_data", _data_question("change_data", connection_id, timeout, *changes))

    # Ending

    async def adisconnect(
        self, connection_id: str, code: int = 1000, reason: str = "", *, timeout: float | None = None
    ) -> None:
        """Close a connection.

        Raises:
            ConnectionClosed: it is gone already.
            InvalidCloseCode: RFC 6455 does not let an endpoint send this code, or the reason is over 123 bytes.
            IncompleteAnswer, LayerUnavailable: see ajoin().
        """
        check_close(code, reason)
        await self._aask(_command("disconnect", connection_id, timeout, code, reason))

    def disconnect(
        self, connection_id: str, code: int = 1000, reason: str = "", *, timeout: float | None = None
    ) -> None:
        """See adisconnect()."""
        check_close(code, reason)
        self._ask("disconnect", _command("disconnect", connection_id, timeout, code, reason))

    async def ashutdown(self, code: int = 1001, reason: str = "", *, timeout: float | None = None) -> None:
        """Close all connections of the namespace. See adisconnect() and amembers() for what is raised."""
        check_close(code, reason)
        await self._aask(_question("shutdown", timeout, _nothing, code, reason))

    def shutdown(self, code: int = 1001, reason: str = "", *, timeout: float | None = None) -> None:
        """See ashutdown()."""
        check_close(code, reason)
        self._ask("shutdown", _question("shutdown", timeout, _nothing, code, reason))

    # The way to the hub

    async def _asend(self, function: Callable[..., Coroutine[Any, Any, None]], *args: Any) -> None:
        hub = home_hub()
        if hub is None:
            _say_nobody_is_here()
        elif hub.loop is asyncio.get_running_loop():
            await function(hub, self.namespace, *args)
        else:
            await arun_on(hub.loop, function, hub, self.namespace, *args)

    def _send(self, name: str, function: Callable[..., Coroutine[Any, Any, None]], *args: Any) -> None:
        refuse_in_event_loop(name)
        hub = home_hub()
        if hub is None:
            _say_nobody_is_here()
        else:
            run_on(hub.loop, function, hub, self.namespace, *args)

    async def _aask(self, question: "_Question[_T]") -> _T:
        hub = home_hub()
        if hub is None:
            _say_nobody_is_here()
            return question.merge([])
        return await arun_on(hub.loop, question.ask, hub, self.namespace, timeout=question.timeout)

    def _ask(self, name: str, question: "_Question[_T]") -> _T:
        refuse_in_event_loop(name)
        hub = home_hub()
        if hub is None:
            _say_nobody_is_here()
            return question.merge([])
        return run_on(hub.loop, question.ask, hub, self.namespace, timeout=question.timeout)


@dataclass(frozen=True, slots=True)
class _Question(Generic[_T]):
    """Something that hubs are asked, and how their answers become one.

    A question to one hub is about one of its connections; ``silence`` makes the error where that hub does not answer.
    """

    action: str
    arguments: tuple[Any, ...]
    timeout: float
    merge: Callable[[list[Any]], _T]
    hub: str | None = None
    silence: Callable[[str], EtpError] = lambda text: IncompleteAnswer(text, answer=None)

    async def ask(self, hub: Hub, namespace: str) -> _T:
        try:
            answers = await hub.ask(self.hub, self.action, namespace, *self.arguments, timeout=self.timeout)
        except IncompleteAnswer as error:
            answers = cast(list[Any], error.answer)
            if self.hub is None:
                raise IncompleteAnswer(str(error), answer=self.merge(answers)) from None
            # It is about one connection: who has that has answered, or nobody has.
            if all(answer is None for answer in answers):
                raise self.silence(str(error)) from None
        return self.merge(answers)


def _question(
    action: str, timeout: float | None, merge: Callable[[list[Any]], _T], *arguments: Any, hub: str | None = None
) -> _Question[_T]:
    seconds = get_settings().question_timeout if timeout is None else timeout
    return _Question(action, arguments, seconds, merge, hub)


def _command(action: str, connection_id: str, timeout: float | None, *arguments: Any) -> _Question[None]:
    """Return a question to the hub of one connection, which must be there."""

    def must_be_done(answers: list[Any]) -> None:
        if not any(answers):
            raise _gone(connection_id)

    return _question(action, timeout, must_be_done, connection_id, *arguments, hub=hub_of(connection_id))


def _room_question(
    room_or_rooms: _Rooms, event: str, data: object, timeout: float | None
) -> _Question[list[RoomReply]]:
    seconds = get_settings().ack_timeout if timeout is None else timeout
    arguments = _room_names(room_or_rooms), event, _checked(event, data), seconds
    return _question("ask_rooms", seconds + get_settings().question_timeout, _replies, *arguments)


def _connection_question(connection_id: str, event: str, data: object, timeout: float | None) -> _Question[Event]:
    seconds = get_settings().ack_timeout if timeout is None else timeout
    late = AckTimeout(f"Connection {connection_id!r:.120} did not answer {event!r:.80} within {seconds:g} s.")

    def the_answer(answers: list[Any]) -> Event:
        found = next((answer for answer in answers if answer is not None), None)
        match found:
            case [_, "answered", *_]:
                return read_event(found)
            case [_, "timed_out"]:
                raise late
            case [_, "failed"]:
                raise EtpError(f"Connection {connection_id!r:.120} could not be asked {event!r:.80}; its log says why.")
        raise _gone(connection_id)

    arguments = connection_id, event, _checked(event, data), seconds
    limit = seconds + get_settings().question_timeout
    return _Question("ask_one", arguments, limit, the_answer, hub_of(connection_id), lambda text: late)


def _data_question(
    action: str, connection_id: str, timeout: float | None, *arguments: Any
) -> _Question[dict[str, Any]]:
    def the_data(answers: list[Any]) -> dict[str, Any]:
        text = next((answer for answer in answers if answer is not None), None)
        if text is None:
            raise _gone(connection_id)
        return from_json(text)

    return _question(action, timeout, the_data, connection_id, *arguments, hub=hub_of(connection_id))


def _data_changes(values: Mapping[str, Any], remove: Iterable[str]) -> tuple[str, list[str]]:
    data = ConnectionData()
    data.update(values)
    if isinstance(remove, str):
        raise TypeError(f"remove= takes keys, as a list, got the str {remove!r:.80}.")
    return data.to_json(), list(remove)


# How answers become one


def _nothing(answers: list[Any]) -> None:
    return None


def _merged(answers: list[Any]) -> list[str]:
    return sorted({name for names in answers for name in names})


def _infos(answers: list[Any]) -> list[ConnectionInfo]:
    return [read_info(info) for infos in answers for info in infos]


def _info_or_none(answers: list[Any]) -> ConnectionInfo | None:
    return next((read_info(info) for info in answers if info is not None), None)


def _replies(answers: list[Any]) -> list[RoomReply]:
    return [read_reply(reply) for replies in answers for reply in replies]


def _gone(connection_id: str) -> ConnectionClosed:
    return ConnectionClosed(f"Connection {connection_id!r:.120} is gone, or never was.")


# What callers pass


def _room_name(room: str) -> str:
    check_room_name(room)
    return room


def _room_names(room_or_rooms: _Rooms) -> list[str]:
    rooms = [room_or_rooms] if isinstance(room_or_rooms, str) else list(room_or_rooms)
    for room in rooms:
        check_room_name(room)
    return rooms


def _joinable(rooms: tuple[str, ...]) -> list[str]:
    for room in rooms:
        check_can_join(room)
    return list(rooms)


def _id(connection_or_id: str | Member) -> str:
    return connection_or_id if isinstance(connection_or_id, str) else connection_or_id.id


def _checked(event: str, data: object) -> str:
    """Return the wire text of the data, once the event is known to be one that can be sent."""
    text = to_text(data)
    to_frame(event, text)
    return text


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
group_name, user = _default.group_name, _default.user
emit, aemit = _default.emit, _default.aemit
broadcast, abroadcast = _default.broadcast, _default.abroadcast
emit_to, aemit_to = _default.emit_to, _default.aemit_to
emit_with_ack, aemit_with_ack = _default.emit_with_ack, _default.aemit_with_ack
emit_to_with_ack, aemit_to_with_ack = _default.emit_to_with_ack, _default.aemit_to_with_ack
data, adata = _default.data, _default.adata
update_data, aupdate_data = _default.update_data, _default.aupdate_data
join, ajoin = _default.join, _default.ajoin
leave, aleave = _default.leave, _default.aleave
clear, aclear = _default.clear, _default.aclear
count, acount = _default.count, _default.acount
names, anames = _default.names, _default.anames
members, amembers = _default.members, _default.amembers
connections, aconnections = _default.connections, _default.aconnections
connection_ids, aconnection_ids = _default.connection_ids, _default.aconnection_ids
get, aget = _default.get, _default.aget
disconnect, adisconnect = _default.disconnect, _default.adisconnect
shutdown, ashutdown = _default.shutdown, _default.ashutdown
