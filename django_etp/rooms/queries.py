"""What the rooms API asks of hubs: each query, what a hub answers to it, and how the answers of many become one.

Rules kept here:

- What callers pass is checked when the query is made: nobody is asked what cannot be asked.
- A query about one connection goes to the hub that its id names.
- A hub answers with plain values, since they may travel over the channel layer. ``None`` means that the connection
  asked for is not one of its own.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Any, TypeVar, cast

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError

from django_etp.conf import ack_timeout, get_settings, question_timeout
from django_etp.exceptions import AckTimeout, ConnectionClosed, EtpError, EventFailed
from django_etp.hub.hub import Hub, hub_of
from django_etp.hub.members import ConnectionInfo, Member, RoomReply, check_id, id_of
from django_etp.hub.names import check_can_join, room_name, room_names
from django_etp.hub.queries import RoomQuery, are_texts, is_number, is_text, is_text_or_none, register_query
from django_etp.protocol.closing import check_close
from django_etp.protocol.frames import Event
from django_etp.serialization import to_frame, to_text
from django_etp.sessions.data import ConnectionData, from_json

_T = TypeVar("_T")


# What a hub answers: each function takes the hub, a namespace and plain arguments.


async def _count(hub: Hub, namespace: str, room: str) -> int:
    return len(hub.membership.members(namespace, room))


async def _names(hub: Hub, namespace: str) -> list[str]:
    return hub.membership.names(namespace)


async def _ids(hub: Hub, namespace: str) -> list[str]:
    return [member.id for member in hub.membership.all()]


async def _infos(hub: Hub, namespace: str, room: str | None) -> list[Any]:
    return _columns(hub, hub.membership.members(namespace, room))


async def _get(hub: Hub, namespace: str, connection_id: str) -> list[Any] | None:
    member = hub.membership.get(namespace, connection_id)
    return _columns(hub, [member]) if member is not None and member.is_accepted else None


def _columns(hub: Hub, members: list[Member]) -> list[Any]:
    """Return what read_infos() reads: columns, and beside them each different set of rooms once.

    Thousands of rows would take several times as long to make, to send, and to read.
    """
    sets: dict[frozenset[str], int] = {}
    rooms = [sets.setdefault(hub.membership.rooms_of(member.id), len(sets)) for member in members]
    columns = zip(*[member.to_row() for member in members], strict=True)
    ids, user_ids, connected_at = map(list, columns) if members else ([], [], [])
    return [ids, user_ids, connected_at, rooms, [sorted(each) for each in sets]]


async def _join(hub: Hub, namespace: str, connection_id: str, rooms: list[str]) -> bool | None:
    member = hub.membership.get(namespace, connection_id)
    if member is None:
        return None
    await hub.join(member, rooms)
    return True


async def _leave(hub: Hub, namespace: str, connection_id: str, rooms: list[str]) -> bool | None:
    member = hub.membership.get(namespace, connection_id)
    if member is None:
        return None
    await hub.leave(member, rooms)
    return True


async def _clear(hub: Hub, namespace: str, rooms: list[str]) -> None:
    await hub.clear(namespace, rooms)


async def _disconnect(hub: Hub, namespace: str, connection_id: str, code: int, reason: str) -> bool | None:
    member = hub.membership.get(namespace, connection_id)
    if member is None:
        return None
    await member.aclose(code, reason)
    return True


async def _shutdown(hub: Hub, namespace: str, code: int, reason: str) -> None:
    for member in hub.membership.members(namespace):
        await member.aclose(code, reason)


async def _ask_rooms(
    hub: Hub, namespace: str, rooms: list[str], event: str, data: str, timeout: float
) -> list[list[Any]]:
    members = {member.id: member for room in rooms for member in hub.membership.members(namespace, room)}
    return await asyncio.gather(*(_ask(member, event, data, timeout) for member in members.values()))


async def _ask_one(
    hub: Hub, namespace: str, connection_id: str, event: str, data: str, timeout: float
) -> list[Any] | None:
    member = hub.membership.get(namespace, connection_id)
    return None if member is None else await _ask(member, event, data, timeout)


async def _ask(member: Member, event: str, data: str, timeout: float) -> list[Any]:
    try:
        reply = await member.ask(event, data, timeout)
    except AckTimeout:
        return [member.id, "timed_out"]
    except ConnectionClosed:
        return [member.id, "gone"]
    except EventFailed as failure:
        return [member.id, "failed", failure.code, failure.message]
    except EtpError as error:
        return [member.id, "failed", "handler_error", str(error)]
    # Numbers go as text: not every serializer of a layer takes 64 bits.
    return [member.id, "answered", reply.name, str(reply.ack_id), reply.data]


async def _read_data(hub: Hub, namespace: str, connection_id: str) -> str | None:
    member = hub.membership.get(namespace, connection_id)
    return None if member is None else member.read_data()


async def _change_data(hub: Hub, namespace: str, connection_id: str, values: str, remove: list[str]) -> str | None:
    member = hub.membership.get(namespace, connection_id)
    return None if member is None else await member.change_data(values, remove)


# What arguments must be at least: those from other processes may be anything.


# Plain values ↔ what callers get


def read_infos(told: list[Any]) -> list[ConnectionInfo]:
    """Return the infos of connections that an action found; a user's id has the type of its primary key."""
    ids, user_ids, connected_at, rooms, sets = told
    if not len(ids) == len(user_ids) == len(connected_at) == len(rooms):
        raise ValueError("its columns differ in length")
    if str in set(map(type, user_ids)):
        user_ids = map(_read_user_id, user_ids)
    names = [tuple(each) for each in sets]
    times = map(partial(datetime.fromtimestamp, tz=UTC), connected_at)
    return list(map(ConnectionInfo, ids, user_ids, map(names.__getitem__, rooms), times))


def read_reply(plain: list[Any]) -> RoomReply:
    """Return what became of a question at one member."""
    return RoomReply(plain[0], plain[1], read_event(plain) if plain[1] == "answered" else None)


def read_event(plain: list[Any]) -> Event:
    """Return the answer in a reply."""
    return Event(plain[2], int(plain[3]), plain[4])


def _read_user_id(text: Any) -> Any:
    try:
        return _user_key().to_python(text)
    except ValidationError:
        return text  # of a user that is not Django's, as a middleware's device


@lru_cache(maxsize=1)
def _user_key() -> Any:
    return get_user_model()._meta.pk


# To members


def replies(
    room_or_rooms: str | Iterable[str], event: str, data: object, timeout: float | None
) -> RoomQuery[list[RoomReply]]:
    """Ask all members of rooms for an answer to an event."""
    seconds = ack_timeout(timeout)
    limit = seconds + get_settings().question_timeout

    def the_replies(answers: list[Any]) -> list[RoomReply]:
        return [read_reply(reply) for replies in answers for reply in replies]

    return _question("ask_rooms", limit, the_replies, room_names(room_or_rooms), event, _text(event, data), seconds)


def reply(connection_id: str, event: str, data: object, timeout: float | None) -> RoomQuery[Event]:
    """Ask one connection for an answer to an event."""
    connection_id = check_id(connection_id)
    seconds = ack_timeout(timeout)
    late = AckTimeout(f"Connection {connection_id!r:.120} did not answer {event!r:.80} within {seconds:g} s.")

    def the_answer(answers: list[Any]) -> Event:
        found = next((answer for answer in answers if answer is not None), None)
        match found:
            case [_, "answered", *_]:
                return read_event(found)
            case [_, "timed_out"]:
                raise late
            case [_, "failed", code, message]:
                raise EventFailed(str(code), str(message), is_from_peer=True)
        raise _gone(connection_id)

    arguments = connection_id, event, _text(event, data), seconds
    limit = seconds + get_settings().question_timeout
    return RoomQuery("ask_one", arguments, limit, the_answer, hub_of(connection_id), lambda text: late)


# To the hub of one connection


def join(connection: str | Member, rooms: Iterable[str], timeout: float | None) -> RoomQuery[None]:
    """Ask that a connection joins rooms."""
    return _command("join", id_of(connection), timeout, _joinable(rooms))


def leave(connection: str | Member, rooms: Iterable[str], timeout: float | None) -> RoomQuery[None]:
    """Ask that a connection leaves rooms."""
    return _command("leave", id_of(connection), timeout, _joinable(rooms))


def disconnect(connection_id: str, code: int, reason: str, timeout: float | None) -> RoomQuery[None]:
    """Ask that a connection is closed."""
    check_close(code, reason)
    return _command("disconnect", connection_id, timeout, code, reason)


def get(connection_id: str, timeout: float | None) -> RoomQuery[ConnectionInfo | None]:
    """Ask what is known of a connection."""
    connection_id = check_id(connection_id)

    def the_info(answers: list[Any]) -> ConnectionInfo | None:
        return next((info for columns in answers if columns is not None for info in read_infos(columns)), None)

    return _question("get", timeout, the_info, connection_id, hub=hub_of(connection_id))


def data(connection_id: str, timeout: float | None) -> RoomQuery[dict[str, Any]]:
    """Ask for a connection's data."""
    return _data_question("read_data", connection_id, timeout)


def update_data(
    connection_id: str, values: Mapping[str, Any], remove: Iterable[str], timeout: float | None
) -> RoomQuery[dict[str, Any]]:
    """Ask that keys of a connection's data are set and removed."""
    changes = ConnectionData()
    changes.update(values)
    if isinstance(remove, str):
        raise TypeError(f"remove= takes keys, as a list, got the str {remove!r:.80}.")
    keys = list(remove)
    if odd := [key for key in keys if not isinstance(key, str)]:
        raise TypeError(f"remove= takes keys, which are str, got {type(odd[0]).__name__}: {odd[0]!r:.80}.")
    return _data_question("change_data", connection_id, timeout, changes.to_json(), keys)


# To all hubs


def count(room: str, timeout: float | None) -> RoomQuery[int]:
    """Ask how many connections are in a room."""
    return _question("count", timeout, sum, room_name(room))


def names(timeout: float | None) -> RoomQuery[list[str]]:
    """Ask for the names of the rooms that have a member."""
    return _question("names", timeout, _all_texts)


def members(room: str, timeout: float | None) -> RoomQuery[list[ConnectionInfo]]:
    """Ask for the connections in a room."""
    return _question("infos", timeout, _all_infos, room_name(room))


def connections(timeout: float | None) -> RoomQuery[list[ConnectionInfo]]:
    """Ask for all connections of the namespace."""
    return _question("infos", timeout, _all_infos, None)


def connection_ids(timeout: float | None) -> RoomQuery[list[str]]:
    """Ask for the ids of the connections of all namespaces."""
    return _question("ids", timeout, _all_texts)


def clear(rooms: Iterable[str], timeout: float | None) -> RoomQuery[None]:
    """Ask that all members leave rooms."""
    return _question("clear", timeout, _nothing, room_names(rooms))


def shutdown(code: int, reason: str, timeout: float | None) -> RoomQuery[None]:
    """Ask that all connections of the namespace are closed."""
    check_close(code, reason)
    return _question("shutdown", timeout, _nothing, code, reason)


def _question(
    action: str, timeout: float | None, merge: Callable[[list[Any]], _T], *arguments: Any, hub: str | None = None
) -> RoomQuery[_T]:
    return RoomQuery(action, arguments, question_timeout(timeout), merge, hub)


def _command(action: str, connection_id: str, timeout: float | None, *arguments: Any) -> RoomQuery[None]:
    """Return a question to the hub of one connection, which must be there."""
    connection_id = check_id(connection_id)

    def must_be_done(answers: list[Any]) -> None:
        if not any(answers):
            raise _gone(connection_id)

    return _question(action, timeout, must_be_done, connection_id, *arguments, hub=hub_of(connection_id))


def _data_question(
    action: str, connection_id: str, timeout: float | None, *arguments: Any
) -> RoomQuery[dict[str, Any]]:
    connection_id = check_id(connection_id)

    def the_data(answers: list[Any]) -> dict[str, Any]:
        text = next((answer for answer in answers if answer is not None), None)
        if text is None:
            raise _gone(connection_id)
        return from_json(text)

    return _question(action, timeout, the_data, connection_id, *arguments, hub=hub_of(connection_id))


def _nothing(answers: list[Any]) -> None:
    return None


def _all_texts(answers: list[Any]) -> list[str]:
    return sorted({str(text) for texts in answers for text in cast(list[str], texts)})


def _all_infos(answers: list[Any]) -> list[ConnectionInfo]:
    return [info for columns in answers for info in read_infos(columns)]


def _gone(connection_id: str) -> ConnectionClosed:
    return ConnectionClosed(f"Connection {connection_id!r:.120} is gone, or never was.")


def _joinable(rooms: Iterable[str]) -> list[str]:
    names = list(rooms)
    for room in names:
        check_can_join(room)
    return names


def _text(event: str, data: object) -> str:
    """Return the wire text of the data, once the event is known to be one that can be sent."""
    text = to_text(data)
    to_frame(event, text)
    return text


register_query("ask_one", _ask_one, [is_text, is_text, is_text, is_text, is_number])
register_query("ask_rooms", _ask_rooms, [is_text, are_texts, is_text, is_text, is_number])
register_query("change_data", _change_data, [is_text, is_text, is_text, are_texts])
register_query("clear", _clear, [is_text, are_texts])
register_query("count", _count, [is_text, is_text])
register_query("disconnect", _disconnect, [is_text, is_text, is_number, is_text])
register_query("get", _get, [is_text, is_text])
register_query("ids", _ids, [is_text])
register_query("infos", _infos, [is_text, is_text_or_none])
register_query("join", _join, [is_text, is_text, are_texts])
register_query("leave", _leave, [is_text, is_text, are_texts])
register_query("names", _names, [is_text])
register_query("read_data", _read_data, [is_text, is_text])
register_query("shutdown", _shutdown, [is_text, is_number, is_text])
