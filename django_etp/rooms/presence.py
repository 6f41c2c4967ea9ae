"""List the users in a room with presence, and those who are online: the calls of the rooms API, and their queries."""

import json
from dataclasses import dataclass
from typing import Any

from django_etp.exceptions import IncompleteAnswer
from django_etp.hub.hub import Hub
from django_etp.hub.names import check_room_name, room_name
from django_etp.hub.queries import HubQuery, register_query

from .calls import Calls
from .users import identity

__all__ = ["PresenceCalls", "Present"]


@dataclass(frozen=True, slots=True)
class Present:
    """A user in a room with presence, or an anonymous connection.

    Attributes:
        key: names the user: the primary key as text; or it is the id of the anonymous connection.
        info: the result of the function of ``presence=``; empty if there is none.
        since: since when the user is in the room, in seconds since 1970.
        connections: how many connections of the user are in it, in all processes.
    """

    key: str
    info: dict[str, Any]
    since: float
    connections: int


@register_query("present")
@dataclass(frozen=True, slots=True)
class ListPresent(HubQuery[list[Present]]):
    """List the users in a room with presence."""

    room: str

    def __post_init__(self) -> None:
        check_room_name(self.room)

    async def reply(self, hub: Hub) -> list[Any]:
        """Return the entries that this process answers for."""
        return [] if hub.presence is None else hub.presence.rows(self.namespace, self.room)

    def merge(self, replies: list[Any]) -> list[Present]:
        """Return the entries that all processes show together, in the order of their joins."""
        if not any(replies):
            return []
        from django_etp.presence.entries import Entry, merge  # only a project whose rooms have presence imports it

        by_key: dict[str, list[Entry]] = {}
        for row in (row for rows in replies for row in rows or ()):
            entry = Entry.from_plain(row)
            by_key.setdefault(entry.key, []).append(entry)
        shown = [each for entries in by_key.values() if (each := merge(entries)) is not None]
        shown.sort(key=lambda each: (each.since, each.key))
        return [Present(each.key, json.loads(each.info), each.since, each.connections) for each in shown]


@register_query("online")
@dataclass(frozen=True, slots=True)
class ListOnline(HubQuery[frozenset[str]]):
    """Find out which of some users have a connection, of any namespace.

    Attributes:
        user_ids: the names of the users in the site. See tenancy.identity().
    """

    user_ids: tuple[str, ...]

    async def reply(self, hub: Hub) -> list[str]:
        """Return those who have an accepted connection here."""
        of_user = hub.membership.of_user
        return [id for id in self.user_ids if any(member.is_accepted for member in of_user(id))]

    def merge(self, replies: list[Any]) -> frozenset[str]:
        """Return those who have one in any process."""
        return frozenset(str(id) for ids in replies for id in ids)


class PresenceCalls:
    """The calls of ``Rooms`` about presence."""

    namespace: str

    async def apresent(self, room: str, *, timeout: float | None = None) -> list[Present]:
        """Return the users in a room with presence, in the order of their joins; an empty list for any other room.

        A user whose connections have ended counts for ``PRESENCE_GRACE`` seconds more. See amembers() for ``timeout``
        and the exceptions.
        """
        return await Calls(self.namespace).aask(ListPresent(self.namespace, room_name(room)), timeout)

    def present(self, room: str, *, timeout: float | None = None) -> list[Present]:
        """See apresent()."""
        return Calls(self.namespace).ask("present", ListPresent(self.namespace, room_name(room)), timeout)

    async def ais_online(self, *users: Any, timeout: float | None = None) -> dict[Any, bool]:
        """Return for each user whether the user has a connection, in any namespace and process.

        ``users`` are Django's users, or primary keys of users; they are the keys of the result. See amembers() for
        ``timeout`` and the exceptions.
        """
        ids = {user: identity(user) for user in users}
        try:
            online = await Calls(self.namespace).aask(ListOnline(self.namespace, tuple(ids.values())), timeout)
        except IncompleteAnswer as error:
            raise _incomplete(error, ids) from error
        return _by_user(ids, online)

    def is_online(self, *users: Any, timeout: float | None = None) -> dict[Any, bool]:
        """See ais_online()."""
        ids = {user: identity(user) for user in users}
        try:
            online = Calls(self.namespace).ask("is_online", ListOnline(self.namespace, tuple(ids.values())), timeout)
        except IncompleteAnswer as error:
            raise _incomplete(error, ids) from error
        return _by_user(ids, online)


def _by_user(ids: dict[Any, str], online: object) -> dict[Any, bool]:
    return {user: isinstance(online, frozenset) and id in online for user, id in ids.items()}


def _incomplete(error: IncompleteAnswer, ids: dict[Any, str]) -> IncompleteAnswer:
    return IncompleteAnswer(str(error), answer=_by_user(ids, error.answer))
