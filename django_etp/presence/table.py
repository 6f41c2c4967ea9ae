"""The entries of one room, as one process knows them: its own share, and the shares of the others.

Rules kept here:

- A process changes its own share only. Another's share is a copy, as of that process's last announcement.
- A share whose process is gone turns into floors: its connections count until the share is dropped.

No clock and no layer.
"""

from collections.abc import Callable, Iterable

from .entries import Entry, Shown, merge

__all__ = ["Share", "Table"]


class Share:
    """The entries of one process in a room.

    Attributes:
        version: the version of the last announcement that it holds; 0 for none.
        entries: the entries by their keys.
        is_orphan: whether the process has ended.
    """

    __slots__ = ("entries", "is_orphan", "version")

    def __init__(self, entries: Iterable[Entry] = (), version: int = 0) -> None:
        self.version = version
        self.entries = {entry.key: entry for entry in entries}
        self.is_orphan = False


class Table:
    """The entries of one room.

    Args:
        own_hub: the id of this process's hub.
        changed: is called after each change of a shown entry, with its key and the entry before.

    Attributes:
        shown: the entries that the room shows, by keys.
        shares: the shares by the ids of the hubs.
    """

    def __init__(self, own_hub: str, changed: Callable[[str, Shown | None], None]) -> None:
        self.own = Share()
        self.shares: dict[str, Share] = {own_hub: self.own}
        self.shown: dict[str, Shown] = {}
        self._changed = changed

    @property
    def others(self) -> list[str]:
        """The ids of the hubs of the other processes that have a share."""
        return [hub for hub, share in self.shares.items() if share is not self.own]

    def connections(self, key: str) -> int:
        """Return how many connections a key has now, in all processes."""
        return sum(entry.connections for share in self.shares.values() if (entry := share.entries.get(key)))

    def gone_at(self, key: str) -> float:
        """Return when the last connection of a key was removed, by the traces that are left; 0 without any."""
        entries = (entry for share in self.shares.values() if (entry := share.entries.get(key)))
        return max((entry.informed_at for entry in entries if entry.is_trace), default=0.0)

    def put(self, share: Share, entry: Entry) -> None:
        """Set an entry of a share."""
        share.entries[entry.key] = entry
        self._merge(entry.key)

    def remove(self, share: Share, key: str) -> None:
        """Remove an entry of a share."""
        if share.entries.pop(key, None) is not None:
            self._merge(key)

    def replace(self, hub: str, share: Share) -> None:
        """Set the whole share of another process."""
        old = self.shares.get(hub)
        self.shares[hub] = share
        for key in dict.fromkeys([*(old.entries if old is not None else ()), *share.entries]):
            self._merge(key)

    def drop(self, hub: str) -> None:
        """Remove the share of another process."""
        if (share := self.shares.pop(hub, None)) is not None:
            for key in share.entries:
                self._merge(key)

    def orphan(self, hub: str) -> None:
        """Turn the connections of a process that has ended into floors."""
        share = self.shares.get(hub)
        if share is None or share.is_orphan:
            return
        share.is_orphan = True
        for key, entry in share.entries.items():
            floor = max(entry.floor, self.connections(key) if entry.connections else 0)
            share.entries[key] = Entry(key, entry.info, entry.informed_at, entry.since, 0, floor)
            self._merge(key)

    def _merge(self, key: str) -> None:
        before = self.shown.get(key)
        entries = [entry for share in self.shares.values() if (entry := share.entries.get(key))]
        after = merge(entries)
        if after is None:
            if before is not None:
                del self.shown[key]
                self._changed(key, before)
        elif before is None or (
            before.connections != after.connections or before.info != after.info or before.since != after.since
        ):
            self.shown[key] = after
            self._changed(key, before)
