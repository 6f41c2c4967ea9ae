"""The queries of the live page, which all processes answer, each with no more than a page has rows.

The namespace of a query is ``""``: it is about those of all namespaces.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from django_etp.cluster.messages import Malformed
from django_etp.connections.peer import Peer
from django_etp.hub.hub import Hub
from django_etp.hub.members import Member
from django_etp.hub.names import check_room_name
from django_etp.hub.queries import ConnectionQuery, HubQuery, register_query

from .losses import losses
from .paging import Page, Place, merge
from .rows import ConnectionRow, key_of, matches
from .traffic import SECONDS, traffic_of

__all__ = ["Details", "GetDetails", "GetSummary", "ListConnections", "ListRooms", "RoomRow", "Summary"]

_MOST_ROWS = 200
# Between so many connections the event loop goes on with other work.
_AT_ONCE = 500
# How many rooms of a connection are named.
_MOST_ROOMS = 200


@dataclass(frozen=True, slots=True)
class _PageQuery(HubQuery[Any]):
    """A query for a page of rows.

    Attributes:
        search: which rows; all if it is empty.
        key: the key that the page begins behind, or ends before, as text; nothing for the first page.
        is_backward: 1 if the page ends before the key.
        size: the number of rows of a page.
    """

    search: str
    key: tuple[str, ...]
    is_backward: int
    size: int

    def __post_init__(self) -> None:
        if not 0 < self.size <= _MOST_ROWS:
            raise Malformed(f"a page has 1 to {_MOST_ROWS} rows, got {self.size}")
        if len(self.key) not in (0, 2):
            raise Malformed(f"a key has two parts, got {self.key!r:.80}")


@register_query("live_connections")
@dataclass(frozen=True, slots=True)
class ListConnections(_PageQuery):
    """List connections, the latest ones first: all, or the members of a room of ``room_namespace``."""

    room_namespace: str = ""
    room: str | None = None

    def __post_init__(self) -> None:
        _PageQuery.__post_init__(self)
        if self.room is not None:
            check_room_name(self.room)
        self._place()

    def _place(self) -> Place:
        try:
            key = (-float(self.key[0]), self.key[1]) if self.key else None
        except ValueError as error:
            raise Malformed(f"a key begins with a time, got {self.key!r:.80}") from error
        return Place(key, bool(self.is_backward), self.size)

    async def reply(self, hub: Hub) -> list[Any]:
        """Return the rows of those here, how many are on the key's side, and how many there are."""
        if self.room is None:
            members = [each for each in hub.membership.all() if each.is_accepted]
        else:
            members = hub.membership.members(self.room_namespace, self.room)
        search, rows = self.search.casefold(), []
        for start in range(0, len(members), _AT_ONCE):
            peers = [each for each in members[start : start + _AT_ONCE] if isinstance(each, Peer)]
            rows += [(key_of(each), each) for each in peers if not search or matches(each, search)]
            await asyncio.sleep(0)
        found, aside, total = self._place().cut(rows)
        return [[ConnectionRow.of(peer, hub).to_plain() for peer in found], aside, total]

    def merge(self, replies: list[Any]) -> Page[ConnectionRow]:
        """Return the page that the rows of all hubs make."""
        parts = [([ConnectionRow.read(row) for row in rows], int(aside), int(total)) for rows, aside, total in replies]
        return merge(self._place(), parts, lambda row: row.key)


@dataclass(frozen=True, slots=True)
class RoomRow:
    """A room, and how many members it has."""

    namespace: str
    name: str
    members: int

    @property
    def key(self) -> tuple[str, str]:
        """Its place among others."""
        return self.name, self.namespace


@register_query("live_rooms")
@dataclass(frozen=True, slots=True)
class ListRooms(_PageQuery):
    """List rooms by name, those of users left out."""

    def _place(self) -> Place:
        return Place(self.key or None, bool(self.is_backward), self.size)

    async def reply(self, hub: Hub) -> list[Any]:
        """Return the rooms with a member here. See ListConnections.reply()."""
        membership, search = hub.membership, self.search.casefold()
        rooms = [
            (name, namespace)
            for namespace in membership.namespaces
            for name in membership.names(namespace)
            if search in name.casefold()
        ]
        found, aside, total = self._place().cut((key, key) for key in rooms)
        rows = [[namespace, name, len(membership.members(namespace, name))] for name, namespace in found]
        return [rows, aside, total]

    def merge(self, replies: list[Any]) -> Page[RoomRow]:
        """Return the page that the rooms of all hubs make; a room of several hubs is one."""
        parts = [
            ([RoomRow(str(namespace), str(name), int(members)) for namespace, name, members in rows], aside, total)
            for rows, aside, total in replies
        ]
        return merge(
            self._place(),
            parts,
            lambda row: row.key,
            lambda one, other: RoomRow(one.namespace, one.name, one.members + other.members),
        )


@dataclass(frozen=True, slots=True)
class Details:
    """A connection in detail.

    Attributes:
        row: the facts that a list shows.
        rooms: the names of its rooms, sorted; of more than 200 the first ones.
        events: how many of its events were handled since the counting began.
        frames: how many frames it got since then.
    """

    row: ConnectionRow
    rooms: list[str]
    events: int
    frames: int


@register_query("live_details")
@dataclass(frozen=True, slots=True)
class GetDetails(ConnectionQuery[Details | None]):
    """Get a connection of any namespace; ``None`` if it is gone. From now on its traffic is counted for a while."""

    async def reply(self, hub: Hub) -> Any:
        """See ConnectionQuery.reply()."""
        member = hub.membership.find(self.connection_id)
        return None if member is None else await self.reply_for(member, hub)

    async def reply_for(self, member: Member, hub: Hub) -> list[Any] | None:
        """Return the details as plain values."""
        if not isinstance(member, Peer) or not member.is_accepted:
            return None
        traffic = traffic_of(hub)
        traffic.look()
        meter = traffic.meters.get(member.id)
        counts = [0, 0] if meter is None else [meter.events, meter.frames]
        return [ConnectionRow.of(member, hub).to_plain(), sorted(member.rooms)[:_MOST_ROOMS], *counts]

    def read(self, reply: Any) -> Details:
        """Return the details in the reply."""
        row, rooms, events, frames = reply
        return Details(ConnectionRow.read(row), [str(room) for room in rooms], int(events), int(frames))

    def gone(self) -> None:
        """Return ``None``."""


@dataclass(slots=True)
class Summary:
    """What all processes have together.

    Attributes:
        processes: how many processes have replied.
        connections: how many connections they have.
        events: how many events were handled in each of the last seconds, the latest one last.
        frames: how many frames went to clients in these seconds.
        messages_lost: see Losses, also for what follows.
        events_lost: …
        slow_clients: …
        last: the last losses, the latest one first.
    """

    processes: int = 0
    connections: int = 0
    events: list[int] = field(default_factory=list)
    frames: list[int] = field(default_factory=list)
    messages_lost: int = 0
    events_lost: int = 0
    slow_clients: int = 0
    last: list[tuple[float, str, str, int]] = field(default_factory=list)


@register_query("live_summary")
@dataclass(frozen=True, slots=True)
class GetSummary(HubQuery[Summary]):
    """Get the number of connections, the traffic and the losses. From now on the traffic is counted for a while."""

    async def reply(self, hub: Hub) -> list[Any]:
        """Return those here."""
        traffic = traffic_of(hub)
        traffic.look()
        connections = sum(member.is_accepted for member in hub.membership.all())
        seconds = list(map(list, traffic.seconds))
        counts = [losses.messages, losses.events, losses.slow_clients]
        return [connections, seconds, counts, [list(loss) for loss in losses.last]]

    def merge(self, replies: list[Any]) -> Summary:
        """Return their sums. The last second of each process is taken for the same one."""
        summary = Summary()
        seconds = [[0, 0] for _ in range(max((len(each) for _, each, *_ in replies), default=0))][-SECONDS:]
        for connections, own_seconds, counts, last in replies:
            summary.processes += 1
            summary.connections += int(connections)
            for total, (events, frames) in zip(reversed(seconds), reversed(own_seconds), strict=False):
                total[0] += int(events)
                total[1] += int(frames)
            messages, events, slow_clients = counts
            summary.messages_lost += int(messages)
            summary.events_lost += int(events)
            summary.slow_clients += int(slow_clients)
            summary.last += [(float(at), str(namespace), str(room), int(lost)) for at, namespace, room, lost in last]
        summary.events = [events for events, _ in seconds]
        summary.frames = [frames for _, frames in seconds]
        summary.last = sorted(summary.last, reverse=True)[:_MOST_ROWS]
        return summary
