"""One room with presence, in a process with connections in it.

Rules kept here:

- A process announces the changes of its own share, as deltas with versions, at most every 200 ms. The versions of all
  shares of a process come from one counter, so that a share that begins anew continues them.
- A delta is applied to the version that it starts from. If another version is here, the process asks the sender for the
  whole share, and keeps the deltas that arrive meanwhile.
- Before its first member is answered, the process receives the deltas of the others, and has asked for their shares.
- A connection that leaves is gone with the next announcement, and one that has ended after the grace.
- A user who returns, in any process, keeps the time of the first join.
- The room is closed once its entries of this process are gone, those in the grace included.
"""

import asyncio
import time
from collections.abc import Iterable
from typing import Protocol

from django_etp.exceptions import EtpError, IncompleteAnswer
from django_etp.hub.hub import Hub

from .entries import Entry, Shown
from .listener import Listener
from .messages import MOST_AT_ONCE, Delta, Digest, Message, reserved_room
from .queries import OneShare, Page, SharesOfAll
from .table import Share, Table

__all__ = ["PresenceRoom"]

# The time between two announcements, that from a change to the first, and the limit of a query, in seconds.
_EVERY = 0.2
_SOON = 0.01
_ASK_LIMIT = 1.0
# How long an entry that is gone leaves a trace in a room that is kept, in seconds.
_TRACE_FOR = 4.0


class Site(Protocol):
    """All rooms with presence of this process."""

    def next_version(self) -> int:
        """Return the next version of any share of this process."""

    def heard(self, hub: str, kept: Iterable[Message] = ()) -> None:
        """Record that another process lives, and take over the entries that it keeps of others that have ended."""

    def closed(self, room: "PresenceRoom") -> None:
        """Record that a room is closed."""


class Audience(Protocol):
    """The ones in this process that get the changes of a room."""

    def record(self, key: str, before: Shown | None) -> None:
        """Record a change of a key, which showed ``before`` until now."""

    def discard(self, member: str) -> None:
        """Record that a connection has left."""

    def announce(self, now: float) -> float | None:
        """Announce the changes; return when to call this again, or ``None`` if there is no need to."""


class PresenceRoom:
    """One room with presence.

    Args:
        hub: the hub of this process.
        site: the rooms of this process.
        id: the room's id.
        namespace: the namespace of the room.
        is_kept: whether the room stays open if it is empty, and an entry that is gone leaves a trace for some seconds.

    Attributes:
        table: the entries of the room.
        version: the version of this process's share.
        is_closed: whether it was closed; another object takes its place then.
        audience: gets the changes. The caller sets it.
    """

    audience: Audience

    def __init__(self, hub: Hub, site: Site, id: str, namespace: str, *, is_kept: bool = False) -> None:
        self.id = id
        self.version = 0
        self.is_closed = False
        self._hub = hub
        self._site = site
        self.table = Table(hub.id, self._changed)
        self._is_kept = is_kept
        self._listener = Listener(hub, namespace, self._receive)
        self._key_of: dict[str, str] = {}  # by the ids of the connections here
        self._ids: dict[str, set[str]] = {}
        self._floors: dict[str, list[int]] = {}
        self._unannounced: dict[str, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._flushed_at = float("-inf")
        # The deltas that arrive while this process asks for shares; of all processes, and of single ones.
        self._held: list[Delta] | None = []
        self._held_of: dict[str, list[Delta]] = {}
        self.opening = hub.run(self._open())

    # The connections of this process

    def enter(self, connection_id: str, key: str, info: str) -> None:
        """Let a connection in, or in again."""
        if self._key_of.get(connection_id, key) != key:
            self.leave(connection_id, 0.0)
        self._key_of[connection_id] = key
        self._ids.setdefault(key, set()).add(connection_id)
        now = max(time.time(), self.table.gone_at(key))
        shown, own = self.table.shown.get(key), self.table.own.entries.get(key)
        informed_at = own.informed_at if own is not None and own.info == info else now
        self._set(Entry(key, info, informed_at, now if shown is None else shown.since, 0))

    def leave(self, connection_id: str, grace: float) -> None:
        """Let a connection go; it may return within ``grace`` seconds."""
        key = self._key_of.pop(connection_id, None)
        if key is None:
            return
        self.audience.discard(connection_id)
        connections = self.table.connections(key)
        self._ids[key].discard(connection_id)
        if grace > 0:
            self._floors.setdefault(key, []).append(connections)
            self._hub.loop.call_later(grace, self._end_grace, key, connections)
        self._set(self.table.own.entries[key])

    def _end_grace(self, key: str, floor: int) -> None:
        self._floors[key].remove(floor)
        self._set(self.table.own.entries[key])

    def _set(self, entry: Entry) -> None:
        """Set the entry of a key with the connections that it has now."""
        key = entry.key
        connections, floor = len(self._ids.get(key, ())), max(self._floors.get(key, ()), default=0)
        if connections or floor:
            new = Entry(key, entry.info, entry.informed_at, entry.since, connections, floor)
            if new == self.table.own.entries.get(key):
                return
            self.table.put(self.table.own, new)
        else:
            self._ids.pop(key, None)
            self._floors.pop(key, None)
            if self._is_kept:
                self.table.put(self.table.own, trace := Entry(key, entry.info, time.time(), entry.since, 0))
                self._hub.loop.call_later(_TRACE_FOR, self._remove_trace, trace)
            else:
                self.table.remove(self.table.own, key)
        self._unannounced[key] = None
        self.announce_soon()

    def _remove_trace(self, trace: Entry) -> None:
        if self.table.own.entries.get(trace.key) is trace:
            self.table.remove(self.table.own, trace.key)
            self._unannounced[trace.key] = None
            self.announce_soon()

    # Announcing

    def _changed(self, key: str, before: Shown | None) -> None:
        self.audience.record(key, before)
        self.announce_soon()

    def announce_soon(self) -> None:
        """Announce what has changed, as soon as it is time; close the room if no entry of this process is left."""
        if self._timer is None and not self.is_closed:
            now = self._hub.loop.time()
            self._timer = self._hub.loop.call_at(max(now + _SOON, self._flushed_at + _EVERY), self._flush)

    def _flush(self) -> None:
        self._timer = None
        self._flushed_at = now = self._hub.loop.time()
        self._publish()
        if (again_at := self.audience.announce(now)) is not None:
            self._timer = self._hub.loop.call_at(max(again_at, now + _EVERY), self._flush)
        if not self.table.own.entries and self._held is None and not self._is_kept:
            self.close()

    def _publish(self) -> None:
        keys, self._unannounced = list(self._unannounced), {}
        entries = self.table.own.entries
        for start in range(0, len(keys), MOST_AT_ONCE):
            part = keys[start : start + MOST_AT_ONCE]
            there = tuple(entries[key] for key in part if key in entries)
            before, self.version = self.version, self._site.next_version()
            gone = tuple(key for key in part if key not in entries)
            self._listener.send(reserved_room(self.id), Delta(self._hub.id, before, self.version, there, gone).encode())

    def last_entries(self) -> list[Entry]:
        """Return this process's entries as they are once all its connections have ended."""
        return [
            Entry(each.key, each.info, each.informed_at, each.since, 0, max(each.connections, each.floor))
            for each in self.table.own.entries.values()
        ]

    def close(self) -> None:
        """Close the room."""
        if self.is_closed:
            return
        self.is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._listener.close()
        self._site.closed(self)

    # The shares of the others

    async def _open(self) -> None:
        """Ask the others for their shares, once their deltas arrive here."""
        try:
            await self._listener.listen(reserved_room(self.id))
            await self._ask_all()
        finally:
            held, self._held = self._held or [], None
            for delta in held:
                self.receive(delta)
            self.announce_soon()

    async def _ask_all(self) -> None:
        try:
            pages = await SharesOfAll(self._listener.namespace, self.id).ask(self._hub, _ASK_LIMIT)
        except IncompleteAnswer as error:
            pages = error.answer if isinstance(error.answer, list) else []
        except EtpError:
            pages = []  # a digest shows what is missing
        for page in (others := [page for page in pages if page.hub != self._hub.id]):
            self._site.heard(page.hub, page.kept)
            if page.is_last and page.entries:
                self._replace(page.hub, page.entries, page.version)
        await asyncio.gather(*(self._ask_for_share(page.hub) for page in others if not page.is_last))

    def _replace(self, hub: str, entries: tuple[Entry, ...] | list[Entry], version: int) -> None:
        old = self.table.shares.get(hub)
        if old is not None and (old.version > version or (old.is_orphan and not entries)):
            return
        self.table.replace(hub, Share(entries, version))

    def _receive(self, message: Message) -> None:
        if isinstance(message, Delta) and message.hub != self._hub.id:
            self._site.heard(message.hub)
            self.receive(message)

    def receive(self, delta: Delta) -> None:
        """Apply a delta of another process, keep it for later, or ask for the whole share."""
        held = self._held if self._held is not None else self._held_of.get(delta.hub)
        if held is not None:
            held.append(delta)
            return
        share = self.table.shares.get(delta.hub)
        version = share.version if share is not None else 0
        if delta.end <= version:
            return
        if delta.start == 0:
            self.table.replace(delta.hub, Share(delta.entries, delta.end))
        elif share is not None and delta.start == version and not share.is_orphan:
            share.version = delta.end
            for entry in delta.entries:
                self.table.put(share, entry)
            for key in delta.removed:
                self.table.remove(share, key)
        else:
            self.ask_for_share(delta.hub)

    def compare(self, digest: Digest) -> None:
        """Compare the share of another process with its digest; ask for the share if it differs, or drop it."""
        if not digest.covers(self.id):
            return
        share, version = self.table.shares.get(digest.hub), digest.versions.get(self.id)
        if version is None:
            if share is not None and share.version <= digest.counter and not share.is_orphan:
                self.table.drop(digest.hub)
        elif version if share is None else share.version < version or share.is_orphan:
            self.ask_for_share(digest.hub)

    def ask_for_share(self, hub: str) -> None:
        """Ask another process for its whole share, unless that is under way."""
        if self._held is None and hub not in self._held_of:
            self._held_of[hub] = []
            self._hub.run(self._ask_for_share(hub))

    async def _ask_for_share(self, hub: str) -> None:
        held = self._held_of.setdefault(hub, [])
        entries: list[Entry] = []
        first: Page | None = None
        try:
            after, is_last = "", False
            while not is_last:
                page = await OneShare(self._listener.namespace, self.id, hub, after).ask(self._hub, _ASK_LIMIT)
                first = first or page
                entries += page.entries
                after, is_last = page.entries[-1].key if page.entries else "", page.is_last
        except EtpError:
            first = None  # a digest shows that it is missing
        del self._held_of[hub]
        if first is not None:
            self._replace(hub, entries, first.version)
            for delta in held:
                self.receive(delta)
