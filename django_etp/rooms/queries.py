"""The queries of the rooms API: count and list members and rooms, join and leave, close."""

from dataclasses import dataclass
from typing import Any, cast

from django_etp.exceptions import TooManyRooms
from django_etp.hub.hub import Hub
from django_etp.hub.members import ConnectionInfo, Member
from django_etp.hub.names import check_can_join, check_room_name
from django_etp.hub.queries import ConnectionCommand, ConnectionQuery, HubCommand, HubQuery, register_query
from django_etp.protocol.closing import check_close

from .infos import read_infos, to_columns

__all__ = [
    "ClearRooms",
    "CloseAll",
    "CloseConnection",
    "CountMembers",
    "FindMissed",
    "GetConnection",
    "JoinRooms",
    "LeaveRooms",
    "ListIds",
    "ListMembers",
    "ListRooms",
]

# To all hubs


@register_query("count")
@dataclass(frozen=True, slots=True)
class CountMembers(HubQuery[int]):
    """Count the members of a room."""

    room: str

    def __post_init__(self) -> None:
        check_room_name(self.room)

    async def reply(self, hub: Hub) -> int:
        """Return how many of them are here."""
        return len(hub.membership.members(self.namespace, self.room))

    def merge(self, replies: list[int]) -> int:
        """Return their sum."""
        return sum(replies)


@register_query("names")
@dataclass(frozen=True, slots=True)
class ListRooms(HubQuery[list[str]]):
    """List the names of the rooms that have a member."""

    async def reply(self, hub: Hub) -> list[str]:
        """Return the names of the rooms that have one here."""
        return hub.membership.names(self.namespace)

    def merge(self, replies: list[Any]) -> list[str]:
        """Return all of them once, sorted."""
        return _all_texts(replies)


@register_query("ids")
@dataclass(frozen=True, slots=True)
class ListIds(HubQuery[list[str]]):
    """List the ids of the connections of all namespaces."""

    async def reply(self, hub: Hub) -> list[str]:
        """Return the ids of those here."""
        return [member.id for member in hub.membership.all()]

    def merge(self, replies: list[Any]) -> list[str]:
        """Return all of them once, sorted."""
        return _all_texts(replies)


@register_query("infos")
@dataclass(frozen=True, slots=True)
class ListMembers(HubQuery[list[ConnectionInfo]]):
    """List the members of a room, or of the whole namespace if the room is ``None``."""

    room: str | None

    def __post_init__(self) -> None:
        if self.room is not None:
            check_room_name(self.room)

    async def reply(self, hub: Hub) -> list[Any]:
        """Return those here, in columns."""
        return to_columns(hub, hub.membership.members(self.namespace, self.room))

    def merge(self, replies: list[list[Any]]) -> list[ConnectionInfo]:
        """Return all of them, one hub's after the other's."""
        return [info for columns in replies for info in read_infos(columns)]


@register_query("clear")
@dataclass(frozen=True, slots=True)
class ClearRooms(HubCommand):
    """Let all members leave rooms."""

    rooms: tuple[str, ...]

    def __post_init__(self) -> None:
        for room in self.rooms:
            check_room_name(room)

    async def reply(self, hub: Hub) -> None:
        """Let those here leave."""
        await hub.clear(self.namespace, self.rooms)


@register_query("shutdown")
@dataclass(frozen=True, slots=True)
class CloseAll(HubCommand):
    """Close all connections of the namespace."""

    code: int
    reason: str

    def __post_init__(self) -> None:
        check_close(self.code, self.reason)

    async def reply(self, hub: Hub) -> None:
        """Close those here."""
        for member in hub.membership.members(self.namespace):
            await member.aclose(self.code, self.reason)


def _all_texts(replies: list[Any]) -> list[str]:
    return sorted({str(text) for texts in replies for text in cast(list[str], texts)})


@register_query("missed")
@dataclass(frozen=True, slots=True)
class FindMissed(HubQuery[frozenset[str]]):
    """Find the relayed events, by their names, that a hub has not received although it has members of their rooms.

    ``groups`` are the groups of the rooms, one for each of the ``emissions``.
    """

    groups: tuple[str, ...]
    emissions: tuple[str, ...]

    async def reply(self, hub: Hub) -> list[str]:
        """Return those that this hub has not received."""
        return [
            emission
            for group, emission in zip(self.groups, self.emissions, strict=True)
            if hub.membership.room_of(group) is not None and not hub.emissions.has_relayed(emission)
        ]

    def merge(self, replies: list[Any]) -> frozenset[str]:
        """Return those that a hub has not received."""
        return frozenset(_all_texts(replies))


# To the hub of one connection


@register_query("get")
@dataclass(frozen=True, slots=True)
class GetConnection(ConnectionQuery[ConnectionInfo | None]):
    """Get what is known of a connection; ``None`` if it is gone, or not accepted yet."""

    async def reply_for(self, member: Member, hub: Hub) -> list[Any] | None:
        """Return it in columns."""
        return to_columns(hub, [member]) if member.is_accepted else None

    def read(self, reply: list[Any]) -> ConnectionInfo | None:
        """Return the info in the columns."""
        return next(iter(read_infos(reply)), None)

    def gone(self) -> None:
        """Return ``None``."""


@register_query("join")
@dataclass(frozen=True, slots=True)
class JoinRooms(ConnectionCommand):
    """Let a connection join rooms."""

    rooms: tuple[str, ...]

    def __post_init__(self) -> None:
        for room in self.rooms:
            check_can_join(room)

    async def reply_for(self, member: Member, hub: Hub) -> bool | str:
        """Let it join; return why not if it is in too many rooms."""
        try:
            await hub.join(member, self.rooms)
        except TooManyRooms as error:
            return str(error)
        return True

    def read(self, reply: bool | str) -> None:
        """Raise ``TooManyRooms`` if that is the reply."""
        if isinstance(reply, str):
            raise TooManyRooms(reply)


@register_query("leave")
@dataclass(frozen=True, slots=True)
class LeaveRooms(ConnectionCommand):
    """Let a connection leave rooms."""

    rooms: tuple[str, ...]

    def __post_init__(self) -> None:
        for room in self.rooms:
            check_can_join(room)

    async def reply_for(self, member: Member, hub: Hub) -> bool:
        """Let it leave."""
        await hub.leave(member, self.rooms)
        return True


@register_query("disconnect")
@dataclass(frozen=True, slots=True)
class CloseConnection(ConnectionCommand):
    """Close a connection."""

    code: int
    reason: str

    def __post_init__(self) -> None:
        check_close(self.code, self.reason)

    async def reply_for(self, member: Member, hub: Hub) -> bool:
        """Close it."""
        await member.aclose(self.code, self.reason)
        return True
