"""What can be asked of a hub, by callers in its process and by other hubs: the actions behind the rooms API.

Each takes the hub and plain arguments and returns plain values, since both may travel over the channel layer. ``None``
means that the connection asked for is not one of this hub's.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError

from .envelope import Malformed
from .exceptions import AckTimeout, ConnectionClosed, EtpError, EventFailed
from .hub import Hub
from .members import ConnectionInfo, Member, RoomReply
from .protocol import Event

__all__ = ["add_action", "answer", "is_text", "read_event", "read_infos", "read_reply"]


async def answer(hub: Hub, action: str, arguments: list[Any]) -> Any:
    """Do what an action asks of a hub, and return what it found.

    Raises:
        Malformed: the action is unknown, or its arguments do not fit; nothing was done.
    """
    if action not in _ACTIONS:
        raise Malformed(f"the action {action!r:.80} is unknown here: does another process run another version?")
    function, checks = _ACTIONS[action]
    if len(arguments) != len(checks) or not all(check(value) for check, value in zip(checks, arguments, strict=True)):
        raise Malformed(f"the action {action!r} does not take the arguments {arguments!r:.80}")
    return await function(hub, *arguments)


async def _count(hub: Hub, namespace: str, room: str) -> int:
    return len(hub.membership.members(namespace, room))


async def _names(hub: Hub, namespace: str) -> list[str]:
    return hub.membership.names(namespace)


async def _ids(hub: Hub, namespace: str) -> list[str]:
    return [member.id for member in hub.membership.all()]


async def _infos(hub: Hub, namespace: str, room: str | None) -> list[Any]:
    return _told(hub, hub.membership.members(namespace, room))


async def _get(hub: Hub, namespace: str, connection_id: str) -> list[Any] | None:
    member = hub.membership.get(namespace, connection_id)
    return _told(hub, [member]) if member is not None and member.is_accepted else None


def _told(hub: Hub, members: list[Member]) -> list[Any]:
    """Return what read_infos() reads: columns, and beside them each different set of rooms once.

    Thousands of rows would take several times as long to make, to send, and to read.
    """
    sets: dict[frozenset[str], int] = {}
    rooms = [sets.setdefault(hub.membership.rooms_of(member.id), len(sets)) for member in members]
    columns = zip(*[member.tell() for member in members], strict=True)
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


def is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_text_or_none(value: object) -> bool:
    return value is None or isinstance(value, str)


def _are_texts(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)


def _is_number(value: object) -> bool:
    return isinstance(value, int) or (isinstance(value, float) and not math.isnan(value))


def add_action(name: str, function: Callable[..., Awaitable[Any]], rules: Sequence[Callable[[object], bool]]) -> None:
    """Let hubs answer to another action; the function takes the hub, a namespace and plain arguments."""
    _ACTIONS[name] = (function, rules)


_Action = tuple[Callable[..., Awaitable[Any]], Sequence[Callable[[object], bool]]]
_ACTIONS: dict[str, _Action] = {
    "ask_one": (_ask_one, [is_text, is_text, is_text, is_text, _is_number]),
    "ask_rooms": (_ask_rooms, [is_text, _are_texts, is_text, is_text, _is_number]),
    "change_data": (_change_data, [is_text, is_text, is_text, _are_texts]),
    "clear": (_clear, [is_text, _are_texts]),
    "count": (_count, [is_text, is_text]),
    "disconnect": (_disconnect, [is_text, is_text, _is_number, is_text]),
    "get": (_get, [is_text, is_text]),
    "ids": (_ids, [is_text]),
    "infos": (_infos, [is_text, _is_text_or_none]),
    "join": (_join, [is_text, is_text, _are_texts]),
    "leave": (_leave, [is_text, is_text, _are_texts]),
    "names": (_names, [is_text]),
    "read_data": (_read_data, [is_text, is_text]),
    "shutdown": (_shutdown, [is_text, _is_number, is_text]),
}


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
