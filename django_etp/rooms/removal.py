"""Queries that take connections out of rooms: all those of a user, or those that may not be there any more."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

from django_etp.conf import get_settings
from django_etp.hub.hub import Hub
from django_etp.hub.members import HasId, id_of
from django_etp.hub.names import check_can_join, room_name, room_names
from django_etp.hub.queries import HubCommand, register_query

from .queries import LeaveRooms
from .users import identity

__all__ = ["LeaveAsUser", "Recheck", "leaving"]

# How long a hub checks before it replies, as a part of the time that it has for the reply. The checks go on.
_PART = 0.75


@register_query("leave_as_user")
@dataclass(frozen=True, slots=True)
class LeaveAsUser(HubCommand):
    """Let all connections of a user leave rooms.

    Attributes:
        user_id: the name of the user in the site. See tenancy.identity().
        rooms: the names of the rooms; all rooms if there are none.
    """

    user_id: str
    rooms: tuple[str, ...]

    def __post_init__(self) -> None:
        for room in self.rooms:
            check_can_join(room)

    async def reply(self, hub: Hub) -> None:
        """Let those here leave. One whose hooks run cannot join these rooms until the hooks have ended."""
        membership = hub.membership
        leaving = []
        for member in membership.of_user(self.user_id):
            if member.namespace == self.namespace:
                membership.bar(member, self.rooms)
                leaving.append(hub.leave(member, self.rooms or membership.all_rooms_of(member.id)))
        await asyncio.gather(*leaving)


@register_query("recheck")
@dataclass(frozen=True, slots=True)
class Recheck(HubCommand):
    """Check again who may be in declared rooms, and take out those who may not.

    Attributes:
        namespace: the namespace of the rooms; ``""`` for all.
        user_id: the only user to check, if there is one. See tenancy.identity().
        room: the only room to check, if there is one.
    """

    user_id: str | None
    room: str | None

    @classmethod
    def create(cls, namespace: str, user: Any, room: str | None) -> "Recheck":
        """Return the query for a caller's arguments. See Rooms.arecheck() for what is raised."""
        user_id = None if user is None else identity(user)
        return cls(namespace, user_id, None if room is None else room_name(room))

    async def reply(self, hub: Hub) -> None:
        """Check those here, for as long as there is time to reply, and then go on."""
        if hub.recheck is None:
            return
        membership = hub.membership
        if self.user_id is not None:
            membership.changed_users.add(self.user_id, hub.loop.time())
        guests = [
            guest
            for guest in membership.guests.all()
            if self.namespace in ("", guest.key[0]) and self.room in (None, guest.key[1])
        ]
        if guests and self.user_id is not None:
            ids = {member.id for member in membership.of_user(self.user_id)}
            guests = [guest for guest in guests if guest.id in ids]
        if guests:
            await asyncio.wait([hub.run(hub.recheck(guests))], timeout=get_settings().question_timeout * _PART)


def leaving(namespace: str, first: str | HasId | None, others: tuple[str, ...], user: Any) -> LeaveAsUser | LeaveRooms:
    """Return the query for the arguments of Rooms.aleave(): a connection and rooms, or rooms and a user.

    Raises:
        InvalidRoomName: a name is not a room name, or it is reserved; or the user is anonymous.
        TypeError: there is neither a user nor a connection, or its id.
    """
    if user is not None:
        rooms = others if first is None else (first, *others)
        return LeaveAsUser(namespace, identity(user), tuple(room_names(cast(Iterable[str], rooms))))
    return LeaveRooms(namespace, id_of(cast("str | HasId", first)), others)
