"""What can be asked of a hub, by callers in its process and by other hubs: the actions behind the rooms API.

Each takes the hub and plain arguments and returns plain values, since both may travel over the channel layer. ``None``
means that the connection asked for is not one of this hub's.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import lru_cache
from typing import Any

from django.contrib.auth import get_user_model

from .exceptions import AckTimeout, ConnectionClosed, EtpError
from .hub import Hub
from .members import ConnectionInfo, Member, RoomReply
from .protocol import Event

__all__ = ["answer", "read_event", "read_info", "read_reply"]


async def answer(hub: Hub, action: str, arguments: list[Any]) -> Any:
    """Do what an action asks of a hub, and return what it found."""
    if action not in _ACTIONS:
        raise EtpError(f"The action {action!r:.80} is unknown here: does another process run another version?")
    return await _ACTIONS[action](hub, *arguments)


async def _count(hub: Hub, namespace: str, room: str) -> int:
    return len(hub.members(namespace, room))


async def _names(hub: Hub, namespace: str) -> list[str]:
    return hub.names(namespace)


async def _infos(hub: Hub, namespace: str, room: str | None) -> list[Any]:
    return [_plain_info(member.info) for member in hub.members(namespace, room)]


async def _get(hub: Hub, namespace: str, connection_id: str) -> list[Any] | None:
    member = hub.member(namespace, connection_id)
    return _plain_info(member.info) if member is not None and member.is_accepted else None


async def _join(hub: Hub, namespace: str, connection_id: str, rooms: list[str]) -> bool | None:
    member = hub.member(namespace, connection_id)
    if member is None:
        return None
    await hub.join(member, rooms)
    return True


async def _leave(hub: Hub, namespace: str, connection_id: str, rooms: list[str]) -> bool | None:
    member = hub.member(namespace, connection_id)
    if member is None:
        return None
    await hub.leave(member, rooms)
    return True


async def _clear(hub: Hub, namespace: str, rooms: list[str]) -> None:
    await hub.clear(namespace, rooms)


async def _disconnect(hub: Hub, namespace: str, connection_id: str, code: int, reason: str) -> bool | None:
    member = hub.member(namespace, connection_id)
    if member is None:
        return None
    await member.aclose(code, reason)
    return True


async def _shutdown(hub: Hub, namespace: str, code: int, reason: str) -> None:
    for member in hub.members(namespace):
        await member.aclose(code, reason)


async def _ask_rooms(
    hub: Hub, namespace: str, rooms: list[str], event: str, data: str, timeout: float
) -> list[list[Any]]:
    members = {member.id: member for room in rooms for member in hub.members(namespace, room)}
    return await asyncio.gather(*(_ask(member, event, data, timeout) for member in members.values()))


async def _ask_one(
    hub: Hub, namespace: str, connection_id: str, event: str, data: str, timeout: float
) -> list[Any] | None:
    member = hub.member(namespace, connection_id)
    return None if member is None else await _ask(member, event, data, timeout)


async def _ask(member: Member, event: str, data: str, timeout: float) -> list[Any]:
    try:
        reply = await member.ask(event, data, timeout)
    except AckTimeout:
        return [member.id, "timed_out"]
    except ConnectionClosed:
        return [member.id, "gone"]
    except EtpError:
        return [member.id, "failed"]
    # Numbers go as text: not every serializer of a layer takes 64 bits.
    return [member.id, "answered", reply.name, str(reply.ack_id), reply.data]


_ACTIONS: dict[str, Callable[..., Awaitable[Any]]] = {
    "ask_one": _ask_one,
    "ask_rooms": _ask_rooms,
    "clear": _clear,
    "count": _count,
    "disconnect": _disconnect,
    "get": _get,
    "infos": _infos,
    "join": _join,
    "leave": _leave,
    "names": _names,
    "shutdown": _shutdown,
}


# Plain values ↔ what callers get


def _plain_info(info: ConnectionInfo) -> list[Any]:
    user_id = info.user_id if info.user_id is None or isinstance(info.user_id, int) else str(info.user_id)
    return [info.id, user_id, list(info.rooms), info.connected_at.isoformat()]


def read_info(plain: list[Any]) -> ConnectionInfo:
    """Return the info of a connection that an action found; the user's id has the type of its primary key."""
    id, user_id, rooms, connected_at = plain
    if isinstance(user_id, str):
        user_id = _user_key().to_python(user_id)
    return ConnectionInfo(id, user_id, tuple(rooms), datetime.fromisoformat(connected_at))


def read_reply(plain: list[Any]) -> RoomReply:
    """Return what became of a question at one member."""
    return RoomReply(plain[0], plain[1], read_event(plain) if plain[1] == "answered" else None)


def read_event(plain: list[Any]) -> Event:
    """Return the answer in a reply."""
    return Event(plain[2], int(plain[3]), plain[4])


@lru_cache(maxsize=1)
def _user_key() -> Any:
    return get_user_model()._meta.pk
