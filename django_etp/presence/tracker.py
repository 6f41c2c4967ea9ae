"""The rooms with presence of one process, and its view of the other processes.

How presence works, over all processes:

- Each process is the only source of its own share of a room: the users of the connections that joined here. It stores
  it nowhere else. Other processes with members in the room hold copies of the share, in memory.
- Each process announces the sum of all shares to its own members. So a member gets each announcement once.
- A share has a version. Its changes go to the other processes as deltas from one version to the next. A process that
  lacks the version before asks for the whole share (room.py).
- Deltas may be lost. So each process sends a digest at the interval of the heartbeats: the versions of up to
  ``MOST_AT_ONCE`` of its shares, one range of them after the other. A process that has another version asks for the
  share. One that has a share in the range that the digest does not name drops it. After a reported loss a process asks
  at once.
- A process that ends sends its entries to all others in a farewell, and they keep them for the grace: its users return
  to other processes meanwhile. If no other process serves connections, it waits a moment for one: if one process after
  the other is restarted, the next one begins with the first client that returns.
- The entries of a process that ends without a farewell are dropped once the directory has expired it and it has been
  silent for 18 s. So its users are gone within 20 s, and those of a process that is cut off from the broker for 15 s
  are not. The directory of a process that is cut off itself expires no other one.
"""

import asyncio
from bisect import bisect_left
from contextlib import suppress
from typing import Any

from django_etp.cluster.directory import beat_interval
from django_etp.cluster.links import LocalLink
from django_etp.conf import get_settings
from django_etp.exceptions import EtpError
from django_etp.hub.hub import Hub

from .announcer import Announcer
from .listener import Listener
from .messages import EVERYBODY, MOST_AT_ONCE, Digest, Farewell, Message, farewells, room_id
from .online import Online
from .orphans import Orphans
from .room import PresenceRoom

__all__ = ["Tracker", "tracker_of"]

# How long the entries of a process that ended without a farewell stay after its last message, in seconds.
_SILENT_FOR = 18.0
_LOOK_EVERY = 0.5
# After this many digests that did not come, its connections are taken for ended.
_MISSED = 2.5
# How often a process that ends looks for another one, and how long it waits for the layer to take its farewells.
_LOOKS_FOR_OTHERS, _LOOK_FOR_OTHERS_EVERY = 40, 0.05
_SEND_LIMIT = 1.0


def tracker_of(hub: Hub) -> "Tracker":
    """Return the tracker of a hub, made on first use."""
    if not isinstance(hub.presence, Tracker):
        hub.presence = Tracker(hub)
    return hub.presence


class Tracker:
    """The rooms with presence of one hub.

    Attributes:
        rooms: the rooms with connections of this process, by their ids.
    """

    def __init__(self, hub: Hub) -> None:
        self.rooms: dict[str, PresenceRoom] = {}
        self._hub = hub
        self._version = 0
        self._orphans = Orphans(hub, self.rooms)
        self._heard_at: dict[str, float] = {}
        self._online: Online | None = None
        self._listener: Listener | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._digest_at = 0.0
        self._low = ""
        self._told: dict[str, int] = {}  # the versions of the shares as of their last digests

    # The connections of this process

    def begin(self) -> None:
        """Listen to the other processes, and send them digests; does nothing if that has begun."""
        if self._listener is None and not isinstance(self._hub.link, LocalLink):
            self._listener = Listener(self._hub, "", self._receive)
            self._hub.run(self._listener.listen(EVERYBODY))
            self._timer = self._hub.loop.call_later(_LOOK_EVERY, self._look)

    async def open(self, namespace: str, name: str) -> PresenceRoom:
        """Return a room, once this process knows its entries. The caller enters it without waiting in between."""
        self.begin()
        id = room_id(namespace, name)
        while True:
            room = self.rooms.get(id)
            if room is None:
                room = self.rooms[id] = PresenceRoom(self._hub, self, id, namespace)
                room.audience = Announcer(self._hub, (namespace, name), room.table.shown)
                self._orphans.move_to(room)
            if not room.opening.done():
                await asyncio.wait([room.opening])
            if not room.is_closed:
                return room

    def enter(self, room: PresenceRoom, connection_id: str, key: str, info: str) -> str:
        """Let a connection enter a room that open() returned; return its part of the answer to the join.

        ``key`` names the user, ``info`` is the information for others, as the text of a JSON object. The part is the
        inside of a JSON object.
        """
        room.enter(connection_id, key, info)
        assert isinstance(room.audience, Announcer)
        return room.audience.add(connection_id, key)

    def watch_users(self) -> None:
        """Send the signals ``user_online`` and ``user_offline`` from now on."""
        if self._online is None:
            id = room_id("", EVERYBODY)
            room = self.rooms[id] = PresenceRoom(self._hub, self, id, "", is_kept=True)
            self._online = Online(self._hub, room)
            self._orphans.move_to(room)

    def leave(self, connection_id: str, key: tuple[str, str], *, is_gone: bool) -> None:
        """Let a connection leave a room. If it is gone, it may return within the grace."""
        if (room := self.rooms.get(room_id(*key))) is not None:
            room.leave(connection_id, get_settings().presence_grace if is_gone else 0.0)

    async def hand_over(self) -> None:
        """Send the entries of this process to the others, which keep them for the grace, and end."""
        listener, self._listener = self._listener, None
        if listener is None:
            return
        for _ in range(_LOOKS_FOR_OTHERS):
            if self._hub.link.others or not any(room.table.own.entries for room in self.rooms.values()):
                break
            await asyncio.sleep(_LOOK_FOR_OTHERS_EVERY)
        if self._timer is not None:
            self._timer.cancel()
        rooms = [(room.id, room.last_entries()) for room in self.rooms.values()]
        sends = [listener.send(EVERYBODY, each.encode()) for each in farewells(self._hub.id, rooms)]
        with suppress(EtpError, TimeoutError):
            async with asyncio.timeout(_SEND_LIMIT):
                await self._hub.sent([confirmation for each in sends for confirmation in each])
        if self._online is not None:
            self._online.stop()
            self._online = None
        for room in list(self.rooms.values()):
            room.close()
        listener.close()

    # For rooms

    def next_version(self) -> int:
        """See Site."""
        self._version += 1
        return self._version

    def heard(self, hub: str) -> None:
        """See Site."""
        self._heard_at[hub] = self._hub.loop.time()

    def closed(self, room: PresenceRoom) -> None:
        """See Site."""
        if self.rooms.get(room.id) is room:
            del self.rooms[room.id]

    # For queries

    def rows(self, namespace: str, name: str) -> list[Any]:
        """Return the entries of a room that this process answers for: its own, and those of processes that ended."""
        id = room_id(namespace, name)
        shares = self._orphans.shares(id)
        if (room := self.rooms.get(id)) is not None:
            shares = [share for share in room.table.shares.values() if share is room.table.own or share.is_orphan]
        return [entry.to_plain() for share in shares for entry in share.entries.values()]

    def own_share(self, id: str) -> tuple[int, list[Any]]:
        """Return the version and the entries of this process's share of a room."""
        if (room := self.rooms.get(id)) is None:
            return self._version, []
        return room.version, [entry.to_plain() for entry in room.table.own.entries.values()]

    # The other processes

    def repair(self, group: str) -> bool:
        """Ask for the shares of the room whose messages were lost; return whether the group is one of presence."""
        _, reserved = self._hub.membership.room_of(group) or ("", None)
        if reserved is None or not reserved.startswith(EVERYBODY):
            return False
        if (lossy := self.rooms.get(reserved.removeprefix(f"{EVERYBODY}."))) is not None:
            for hub in self._hub.link.others:
                lossy.ask_for_share(hub)
        return True

    def _receive(self, message: Message) -> None:
        if message.hub == self._hub.id:
            return
        match message:
            case Digest():
                self.heard(message.hub)
                for room in self.rooms.values():
                    room.compare(message)
            case Farewell():
                self._orphans.keep(message)

    def _look(self) -> None:
        now = self._hub.loop.time()
        self._timer = self._hub.loop.call_later(_LOOK_EVERY, self._look)
        others = self._hub.link.others
        every = beat_interval(len(others) + 1)
        known = {hub for room in self.rooms.values() for hub in room.table.others}
        for hub in known - others:
            silent_for = now - self._heard_at.setdefault(hub, now)
            for room in list(self.rooms.values()) if silent_for > _MISSED * every else ():
                if silent_for > _SILENT_FOR:
                    room.table.drop(hub)
                else:
                    room.table.orphan(hub)
        self._heard_at = {hub: at for hub, at in self._heard_at.items() if hub in known or hub in others}
        if now >= self._digest_at:
            self._digest_at = now + every
            self._send_digest()

    def _send_digest(self) -> None:
        ids = sorted(self.rooms)
        start = bisect_left(ids, self._low)
        part = ids[start : start + MOST_AT_ONCE]
        high = ids[start + MOST_AT_ONCE] if start + MOST_AT_ONCE < len(ids) else ""
        versions = {id: self._told.get(id, 0) for id in part}
        if self._listener is not None:
            self._listener.send(EVERYBODY, Digest(self._hub.id, self._version, self._low, high, versions).encode())
        self._low = high
        if not high:
            self._told = {id: version for id, version in self._told.items() if id in self.rooms}
        self._told.update((id, self.rooms[id].version) for id in part)
