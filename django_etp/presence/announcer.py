"""Announce the changes of one room to its members in this process: entries, or above a limit the count alone.

Rules kept here:

- A member gets the changes since the answer to its join, and nothing that the answer held.
- Above ``PRESENCE_LIMIT`` entries members get the count, at most every second. Below it they get the entries
  again, all of them once; after that not again within 10 s, so that a count near the limit does not flood them.
- An announcement goes out behind the answer to a join.
"""

import json
from collections.abc import Iterable, Mapping

from django_etp.conf import get_settings
from django_etp.hub.hub import Hub
from django_etp.protocol.frames import Event, encode
from django_etp.protocol.rooms import PRESENCE, in_room

from .changes import Changes, Difference
from .entries import Shown

__all__ = ["COUNTS_EVERY", "Announcer"]

# The least time between two counts, and between two lists of all entries, in seconds.
COUNTS_EVERY = 1.0
_LISTS_EVERY = 10.0


class Announcer:
    """Announces the changes of one room to its members in this process.

    Args:
        hub: the hub of the members.
        key: the namespace and the name of the room.
        shown: the entries of the room as it shows them, by keys; it changes.
    """

    def __init__(self, hub: Hub, key: tuple[str, str], shown: Mapping[str, Shown]) -> None:
        self._hub = hub
        self._key = key
        self._shown = shown
        self._changes = Changes()
        self._counts_only = False
        # The members, and for those that have joined since the last announcement their knowledge: a mark, or the count.
        self._members: dict[str, None] = {}
        self._knows: dict[str, int] = {}
        self._told_count = 0
        self._counted_at = self._listed_at = float("-inf")

    def record(self, key: str, before: Shown | None) -> None:
        """Record a change of a key, which showed ``before`` until now."""
        if not self._counts_only:
            self._changes.record(key, before)

    def add(self, member: str, key: str) -> str:
        """Add a member by its connection's id; return its part of the answer to the join, the inside of a JSON object.

        ``key`` is that of the member's own entry.
        """
        self._members[member] = None
        count = len(self._shown)
        if not self._counts_only and count > get_settings().presence_limit:
            self._begin_counts()
        if self._counts_only:
            self._knows[member] = count
            return f'"members":[{self._shown[key].text}],"count":{count}'
        self._knows[member] = self._changes.mark
        return f'"members":{_listed(self._shown.values())}'

    def discard(self, member: str) -> None:
        """Remove a member that has left."""
        self._members.pop(member, None)
        self._knows.pop(member, None)

    def announce(self, now: float) -> float | None:
        """Announce the changes; return when to call this again, or ``None`` if there is no need to."""
        count, limit = len(self._shown), get_settings().presence_limit
        if not self._counts_only:
            if count <= limit:
                self._announce_changes()
                return None
            self._begin_counts()
        elif count <= limit and now >= self._listed_at + _LISTS_EVERY and now >= self._counted_at + COUNTS_EVERY:
            self._counts_only, self._listed_at = False, now
            self._knows.clear()
            self._tell(self._members, _encode(Difference(joined=tuple(self._shown.values()))))
            return None
        if count != self._told_count:
            if now < self._counted_at + COUNTS_EVERY:
                return self._counted_at + COUNTS_EVERY
            self._announce_count(count, now)
        return max(self._listed_at + _LISTS_EVERY, self._counted_at + COUNTS_EVERY) if count <= limit else None

    def _begin_counts(self) -> None:
        self._counts_only, self._told_count = True, -1
        self._changes.clear()
        self._knows.clear()

    def _announce_count(self, count: int, now: float) -> None:
        text = json.dumps({"count": count}, separators=(",", ":"))
        self._tell([member for member in self._members if self._knows.get(member) != count], text)
        self._told_count, self._counted_at = count, now
        self._knows.clear()

    def _announce_changes(self) -> None:
        if not self._changes.mark:
            self._knows.clear()
            return
        by_mark: dict[int, list[str]] = {0: [member for member in self._members if member not in self._knows]}
        for member, mark in self._knows.items():
            by_mark.setdefault(mark, []).append(member)
        for mark, members in by_mark.items():
            if members and (difference := self._changes.since(mark, self._shown)):
                self._tell(members, _encode(difference))
        self._changes.clear()
        self._knows.clear()

    def _tell(self, members: Iterable[str], data: str) -> None:
        frame = in_room(self._key[1], encode(Event(PRESENCE, 0, data)))
        membership = self._hub.membership
        guests = membership.guests.by_room.get(self._key)
        for id in members:
            if guests is not None and id in guests.waiting:
                guests.waiting[id].hold(frame)
            elif (member := membership.find(id)) is not None:
                member.deliver(frame)


def _encode(difference: Difference) -> str:
    left = json.dumps(difference.left, separators=(",", ":"))
    return f'{{"joined":{_listed(difference.joined)},"changed":{_listed(difference.changed)},"left":{left}}}'


def _listed(entries: Iterable[Shown]) -> str:
    return f"[{','.join(entry.text for entry in entries)}]"
