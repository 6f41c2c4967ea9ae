"""Questions of one process for the shares of others in a room with presence."""

from dataclasses import dataclass
from typing import Any

from django_etp.exceptions import IncompleteAnswer
from django_etp.hub.hub import Hub
from django_etp.hub.queries import HubQuery, register_query

from .entries import Entry

__all__ = ["MOST_IN_PAGE", "OneShare", "Page", "SharesOfAll"]

MOST_IN_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Page:
    """A part of one process's share of a room, in the order of the keys.

    Attributes:
        hub: the process's hub.
        version: the share's version; each change after it will come as a delta, or has come.
        entries: the entries.
        is_last: whether no entries follow.
    """

    hub: str
    version: int
    entries: tuple[Entry, ...]
    is_last: bool

    @classmethod
    def of(cls, hub: Hub, id: str, after: str) -> list[Any]:
        """Return a page of this process's own share, as plain values: the entries whose keys follow ``after``."""
        if hub.presence is None:
            return [hub.id, 0, [], True]
        version, rows = hub.presence.own_share(id)
        rows = sorted(row for row in rows if row[0] > after)
        return [hub.id, version, rows[:MOST_IN_PAGE], len(rows) <= MOST_IN_PAGE]

    @classmethod
    def read(cls, reply: Any) -> "Page":
        """Return the page in a reply."""
        hub, version, rows, is_last = reply
        return cls(str(hub), int(version), tuple(map(Entry.from_plain, rows)), bool(is_last))


@register_query("presence_of_all")
@dataclass(frozen=True, slots=True)
class SharesOfAll(HubQuery[list[Page]]):
    """The first pages of the shares of all processes.

    Attributes:
        room: the room's id.
    """

    room: str

    async def reply(self, hub: Hub) -> list[Any]:
        """Return the first page of this process's share."""
        return Page.of(hub, self.room, "")

    def merge(self, replies: list[Any]) -> list[Page]:
        """Return the pages."""
        return [Page.read(reply) for reply in replies if reply is not None]


@register_query("presence_of_one")
@dataclass(frozen=True, slots=True)
class OneShare(HubQuery[Page]):
    """A page of the share of one process.

    Attributes:
        room: the room's id.
        hub: the process's hub.
        after: the key that the page follows; ``""`` for the first page.
    """

    room: str
    hub: str
    after: str

    async def reply(self, hub: Hub) -> list[Any] | None:
        """Return the page, if it is this process's."""
        return Page.of(hub, self.room, self.after) if hub.id == self.hub else None

    def merge(self, replies: list[Any]) -> Page:
        """Return the page of the process."""
        for reply in replies:
            if reply is not None and (page := Page.read(reply)).hub == self.hub:
                return page
        raise IncompleteAnswer(f"The hub {self.hub} did not reply.", answer=None)

    async def ask(self, hub: Hub, timeout: float) -> Page:
        """See HubQuery.ask(); the one process is asked."""
        return self._read(await hub.ask(self.hub, self.action, *self.to_plain(), timeout=timeout))
