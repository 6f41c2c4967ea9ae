"""The entries of processes that have ended, which stay for the grace: their users return to other processes meanwhile.

Rules kept here:

- A process keeps the entries of all rooms, also of those that it has no members in: the first of these may come.
"""

from collections.abc import Iterable, Mapping

from django_etp.conf import get_settings
from django_etp.hub.hub import Hub

from .entries import Entry
from .messages import Farewell
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

    def keep(self, farewell: Farewell) -> None:
        """Keep the entries of a farewell for the grace. A room may be in several farewells of a process."""
        for id, entries in farewell.rooms.items():
            if (room := self._rooms.get(id)) is not None:
                room.table.replace(farewell.hub, _orphan(room.table.shares.get(farewell.hub), entries))
            else:
                shares = self._elsewhere.setdefault(id, {})
                shares[farewell.hub] = _orphan(shares.get(farewell.hub), entries)
        self._hub.loop.call_later(get_settings().presence_grace, self._drop, farewell.hub)

    def shares(self, id: str) -> Iterable[Share]:
        """Return the shares of a room that is not here."""
        return self._elsewhere.get(id, {}).values()

    def move_to(self, room: PresenceRoom) -> None:
        """Move the shares of a room that is here from now on."""
        for hub, share in self._elsewhere.pop(room.id, {}).items():
            room.table.replace(hub, share)

    def _drop(self, hub: str) -> None:
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
