"""The entries of processes that have ended, which stay for the grace: their users return to other processes meanwhile.

Rules kept here:

- A process keeps the entries of all rooms, also of those that it has no members in: the first of these may come.
- The entries of a process are dropped at one time in all processes, also in those that were started after its end.
"""

from collections.abc import Iterable, Iterator, Mapping

from django_etp.conf import get_settings
from django_etp.hub.hub import Hub

from .entries import Entry
from .messages import Farewell, farewells
from .room import PresenceRoom
from .table import Share

__all__ = ["Orphans"]


class Orphans:
    """The shares of ended processes, as one hub keeps them.

    Args:
        hub: the hub.
        rooms: its rooms by their ids; their shares are kept there.
    """

    def __init__(self, hub: Hub, rooms: Mapping[str, PresenceRoom]) -> None:
        self._hub = hub
        self._rooms = rooms
        # Of rooms that are not here, by the room and the hub.
        self._elsewhere: dict[str, dict[str, Share]] = {}
        self._until: dict[str, float] = {}  # by the hubs

    def keep(self, farewell: Farewell) -> None:
        """Keep the entries of a farewell for its time. A room may be in several farewells of a process."""
        for id, entries in farewell.rooms.items():
            if (room := self._rooms.get(id)) is not None:
                room.table.replace(farewell.hub, _orphan(room.table.shares.get(farewell.hub), entries))
            else:
                shares = self._elsewhere.setdefault(id, {})
                shares[farewell.hub] = _orphan(shares.get(farewell.hub), entries)
        until = self._hub.loop.time() + min(farewell.seconds, get_settings().presence_grace)
        if until > self._until.get(farewell.hub, 0.0):
            self._until[farewell.hub] = until
            self._hub.loop.call_at(until, self._drop, farewell.hub, until)

    def farewells(self, room: str | None = None) -> Iterator[Farewell]:
        """Yield the entries that are kept, of a room by its id or of all, for a process that has not received them."""
        now = self._hub.loop.time()
        for hub, until in self._until.items():
            here = {id: share for id, room in self._rooms.items() if (share := room.table.shares.get(hub))}
            elsewhere = {id: share for id, shares in self._elsewhere.items() if (share := shares.get(hub))}
            kept = {id: share for id, share in (here | elsewhere).items() if share.is_orphan and room in (None, id)}
            yield from farewells(hub, [(id, share.entries.values()) for id, share in kept.items()], until - now)

    def shares(self, id: str) -> Iterable[Share]:
        """Return the shares of a room that is not here."""
        return self._elsewhere.get(id, {}).values()

    def move_to(self, room: PresenceRoom) -> None:
        """Move the shares of a room that is here from now on."""
        for hub, share in self._elsewhere.pop(room.id, {}).items():
            room.table.replace(hub, share)

    def _drop(self, hub: str, until: float) -> None:
        if self._until.get(hub) != until:
            return  # a later farewell of the process prolonged the time
        del self._until[hub]
        for room in list(self._rooms.values()):
            share = room.table.shares.get(hub)
            if share is not None and share.is_orphan:
                room.table.drop(hub)
        for id, shares in list(self._elsewhere.items()):
            shares.pop(hub, None)
            if not shares:
                del self._elsewhere[id]


def _orphan(old: Share | None, entries: Iterable[Entry]) -> Share:
    share = Share((*(old.entries.values() if old is not None else ()), *entries), old.version if old is not None else 0)
    share.is_orphan = True
    return share
