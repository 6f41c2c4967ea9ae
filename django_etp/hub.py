"""The connections and rooms of one process: one hub for each event loop that serves connections.

Rules kept here:

- A frame is encoded once, by the caller, and goes to every local member without waiting for any of them.
- A room exists while it has a local member; its channel-layer group is joined with the first and left with the last.
- What reaches a room's group from elsewhere in the channel layer arrives like ``rooms.emit``.
- Nothing about membership is stored outside the process.
"""

import asyncio
import logging
import os
import secrets
from collections.abc import Coroutine, Iterable
from contextlib import suppress
from typing import Any

from .exceptions import ConnectionClosed, EtpError
from .groups import group_name
from .layer import LayerLink, open_link
from .members import ConnectionInfo, Member
from .payload import to_frame

__all__ = ["Hub", "home_hub", "running_hub"]

logger = logging.getLogger(__name__)

# After this many sends without a turn of the loop a sender lets the loop turn, so that readers are served meanwhile.
_SENDS_PER_TURN = 64


class Hub:
    """The connections of one event loop, and the rooms they are in."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.id = secrets.token_hex(8)
        self.loop = loop
        self._members: dict[str, Member] = {}
        self._rooms: dict[tuple[str, str], dict[str, Member]] = {}
        self._rooms_of: dict[str, dict[str, None]] = {}
        self._sends_since_turn = 0
        self._tasks: set[asyncio.Task[Any]] = set()
        self._link: LayerLink = open_link(self._receive)

    def new_connection_id(self) -> str:
        """Return an id for a new connection: this hub's id, then 128 random bits."""
        return f"{self.id}.{secrets.token_hex(16)}"

    def run(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a coroutine whatever becomes of the task that asks for it."""
        task = self.loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def settle(self, timeout: float) -> None:
        """Wait up to ``timeout`` seconds until all that runs by run() is done."""
        if tasks := [task for task in self._tasks if task is not asyncio.current_task()]:
            await asyncio.wait(tasks, timeout=timeout)

    # Membership

    def add(self, member: Member) -> None:
        """Take in a connection that came."""
        self._members[member.id] = member

    async def remove(self, member: Member) -> None:
        """Forget a connection that went; it leaves all its rooms."""
        self._members.pop(member.id, None)
        await self.leave(member, self._rooms_of.pop(member.id, ()))

    async def join(self, member: Member, rooms: Iterable[str]) -> None:
        """Let a connection join rooms; it may be in them already.

        Raises:
            ConnectionClosed: the connection is gone.
            InvalidRoomName: nothing was joined.
        """
        groups = {room: group_name(member.namespace, room) for room in rooms}
        if member.id not in self._members:
            raise ConnectionClosed(f"Connection {member.id} is closed and cannot join a room.")
        joined = self._rooms_of.setdefault(member.id, {})
        for room in groups:
            joined[room] = None
            self._rooms.setdefault((member.namespace, room), {})[member.id] = member
        for group in groups.values():
            await self._link.join(group)

    async def leave(self, member: Member, rooms: Iterable[str]) -> None:
        """Let a connection leave rooms; it need not be in them."""
        joined = self._rooms_of.get(member.id, {})
        for room in tuple(rooms):
            joined.pop(room, None)
            members = self._rooms.get((member.namespace, room))
            if members is None or members.pop(member.id, None) is None or members:
                continue
            del self._rooms[member.namespace, room]
            await self._link.leave(group_name(member.namespace, room))

    async def clear(self, namespace: str, rooms: Iterable[str]) -> None:
        """Let all local members leave rooms."""
        for room in rooms:
            for member in tuple(self._rooms.get((namespace, room), {}).values()):
                await self.leave(member, [room])

    def rooms_of(self, connection_id: str) -> frozenset[str]:
        """Return the names of the rooms a local connection is in."""
        return frozenset(self._rooms_of.get(connection_id, ()))

    # Looking

    def member(self, namespace: str, connection_id: str) -> Member | None:
        """Return a local connection, accepted or not."""
        member = self._members.get(connection_id)
        return member if member is not None and member.namespace == namespace else None

    def members(self, namespace: str, room: str | None = None) -> list[Member]:
        """Return the accepted local members of a room, or of the whole namespace."""
        if room is not None:
            return [member for member in self._rooms.get((namespace, room), {}).values() if member.is_accepted]
        return [member for member in self._members.values() if member.namespace == namespace and member.is_accepted]

    def names(self, namespace: str) -> list[str]:
        """Return the names of the rooms that have an accepted local member, sorted."""
        return sorted(
            name
            for (of_namespace, name), members in self._rooms.items()
            if of_namespace == namespace and any(member.is_accepted for member in members.values())
        )

    def infos(self, namespace: str, room: str | None = None) -> list[ConnectionInfo]:
        """Return what the accepted local members of a room, or of the namespace, tell about themselves."""
        return [member.info for member in self.members(namespace, room)]

    # Sending

    def deliver(self, namespace: str, rooms: Iterable[str] | None, frame: str, exclude: frozenset[str]) -> None:
        """Send a frame to the local members of rooms (``None``: to all of the namespace), one copy each."""
        if rooms is None:
            everyone = {id: member for id, member in self._members.items() if member.namespace == namespace}
        else:
            groups = [members for room in rooms if (members := self._rooms.get((namespace, room)))]
            everyone = (
                groups[0] if len(groups) == 1 else {id: member for group in groups for id, member in group.items()}
            )
        for member in tuple(everyone.values()):
            if member.id not in exclude:
                member.deliver(frame)

    async def let_turn(self) -> None:
        """Let the loop turn now and then, for a sender that goes on without waiting for anything."""
        self._sends_since_turn += 1
        if self._sends_since_turn >= _SENDS_PER_TURN:
            self._sends_since_turn = 0
            await asyncio.sleep(0)

    def _receive(self, message: dict[str, Any]) -> None:
        # Any Channels code may send to a room's group; it names the room, since the layer does not tell.
        try:
            namespace, room = message.get("namespace", "default"), message["room"]
            frame = to_frame(message["event"], message.get("data"))
        except (KeyError, EtpError) as error:
            logger.warning(
                "A message on the channel layer was dropped, expected 'room', 'event' and 'data' in it: %s: %s",
                type(error).__name__,
                error,
            )
            return
        self.deliver(namespace, [room], frame, frozenset())


_hubs: dict[asyncio.AbstractEventLoop, Hub] = {}


def running_hub() -> Hub:
    """Return the hub of the running loop, made on first use."""
    loop = asyncio.get_running_loop()
    hub = _hubs.get(loop)
    if hub is None:
        for ended in [loop for loop in _hubs if loop.is_closed()]:
            del _hubs[ended]
        hub = _hubs[loop] = Hub(loop)
    return hub


def home_hub() -> Hub | None:
    """Return the hub that serves this process's connections; ``None`` if there is none.

    Where several loops have one, it is the running loop's, else the newest whose loop lives.
    """
    with suppress(RuntimeError):
        if hub := _hubs.get(asyncio.get_running_loop()):
            return hub
    for loop, hub in reversed(list(_hubs.items())):
        if not loop.is_closed():
            return hub
    return None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_hubs.clear)
