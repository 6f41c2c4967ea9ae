"""The connections of one process, and the rooms that they are in.

Rules kept here:

- A connection is in the room ``None``, where all of its namespace are, and in its user's; it cannot leave these.
- A connection joins at most ``MAX_ROOMS`` rooms, these two not counted.
- A room exists while it has a member. Each change returns the channel-layer groups that the hub must join or leave now.
- A connection that is not accepted yet is in rooms, and gets the events that are sent there, but is not counted as a
  member. Nor is a guest whose join is not answered yet.
- A connection that was barred from rooms while its ``on_connect`` hooks run does not join them before these have ended.

Nothing here waits: there is no event loop and no channel layer.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping

from django_etp.conf import get_settings
from django_etp.exceptions import TooManyRooms

from .changed_users import ChangedUsers
from .guests import Guests
from .members import Member
from .names import RESERVED_PREFIX, group_name, user_room

__all__ = ["Membership"]

_Room = tuple[str, str | None]
# A namespace may be that of a tenant.
_MOST_NAMESPACES = 1000


class Membership:
    """The connections of one hub, and the rooms they are in.

    Attributes:
        namespaces: the namespaces that have, or have had, a connection; past 1,000 those that have one.
        guests: the connections that are in declared rooms because their clients joined.
        changed_users: the users who have changed since they connected.
    """

    def __init__(self) -> None:
        self._members: dict[str, Member] = {}
        self._rooms: dict[_Room, dict[str, Member]] = {}
        self._rooms_of: dict[str, dict[str, None]] = {}
        self._users_room_of: dict[str, str] = {}
        self._room_of_group: dict[str, _Room] = {}
        self.namespaces: set[str] = set()
        self.guests = Guests()
        self.changed_users = ChangedUsers(lambda user_id: bool(self.of_user(user_id)))
        # Is called with the user of each connection that comes or goes, if something is interested.
        self.user_changed: Callable[[str], None] | None = None
        # The connections whose hooks run, and the rooms that they cannot join; None for all rooms.
        self._barred: dict[str, frozenset[str] | None] = {}

    def __contains__(self, connection_id: str) -> bool:
        return connection_id in self._members

    # Changes

    def add(self, member: Member, user_id: object) -> None:
        """Add a connection; enter() puts it into the rooms that it cannot leave."""
        self._members[member.id] = member
        if user_id is not None:
            self._users_room_of[member.id] = user_room(user_id)

    def enter(self, member: Member) -> list[str]:
        """Put a connection into the rooms that it cannot leave; return the groups to join."""
        self.namespaces.add(member.namespace)
        groups = self._put_in(member, self._fixed_rooms(member))
        self._notify_of_user(self._users_room_of.get(member.id))
        return groups

    def change_user(self, member: Member, user_id: object) -> tuple[list[str], list[str]]:
        """Put a connection into another user's room; return the groups to leave, and the groups to join."""
        if member.id not in self:
            return [], []
        left = self._users_room_of.get(member.id)
        entered = self._users_room_of[member.id] = user_room(user_id)
        if entered == left:
            return [], []
        groups = self._take_out(member, [left] if left is not None else []), self._put_in(member, [entered])
        self._notify_of_user(left)
        self._notify_of_user(entered)
        return groups

    def remove(self, member: Member) -> list[str]:
        """Remove a connection; return the groups to leave, which have no member here any more."""
        self._members.pop(member.id, None)
        self._barred.pop(member.id, None)
        self.guests.close(member.id)
        rooms = [*self._rooms_of.pop(member.id, ()), *self._fixed_rooms(member)]
        users_room = self._users_room_of.pop(member.id, None)
        groups = self._take_out(member, rooms)
        self._notify_of_user(users_room)
        if len(self.namespaces) > _MOST_NAMESPACES and (member.namespace, None) not in self._rooms:
            self.namespaces.discard(member.namespace)
        return groups

    def is_alone(self, member: Member) -> bool:
        """Return whether a connection is the only one in any of its rooms."""
        rooms = *self._rooms_of.get(member.id, ()), *self._fixed_rooms(member)
        return any(len(self._rooms.get((member.namespace, room), ())) < 2 for room in rooms)

    def join(self, member: Member, rooms: Collection[str]) -> list[str]:
        """Put a connection into rooms; it may be in them already. Return the groups to join.

        Raises:
            TooManyRooms: it would be in more rooms than the setting MAX_ROOMS allows; it has joined none of them.
        """
        if member.id in self._barred:
            barred = self._barred[member.id]
            rooms = [] if barred is None else [room for room in rooms if room not in barred]
        joined = self._rooms_of.get(member.id, {})
        new = dict.fromkeys(room for room in rooms if room not in joined)
        if new and len(joined) + len(new) > (limit := get_settings().max_rooms):
            raise TooManyRooms(
                f"A connection may be in {limit:,} rooms, which is ETP['MAX_ROOMS']; this one is in {len(joined):,} "
                f"and would join {len(new):,} more."
            )
        self._rooms_of.setdefault(member.id, {}).update(new)
        return self._put_in(member, rooms)

    def listen(self, listener: Member, room: str) -> list[str]:
        """Put a listener, which is no connection, into a reserved room; return the groups to join."""
        self._rooms_of[listener.id] = {room: None}
        return self._put_in(listener, [room])

    def leave(self, member: Member, rooms: Iterable[str]) -> list[str]:
        """Take a connection out of rooms; it need not be in them. Return the groups to leave."""
        joined = self._rooms_of.get(member.id, {})
        return self._take_out(member, [room for room in rooms if joined.pop(room, _ABSENT) is not _ABSENT])

    def begin_hooks(self, member: Member) -> None:
        """Record that the ``on_connect`` hooks of a connection run."""
        self._barred[member.id] = frozenset()

    def end_hooks(self, member: Member) -> None:
        """Record that they have ended: the connection may join all rooms again."""
        self._barred.pop(member.id, None)

    def bar(self, member: Member, rooms: Collection[str]) -> None:
        """If a connection's hooks run, let it join none of these rooms, or no room if none is named, until they end."""
        if (barred := self._barred.get(member.id)) is not None:
            self._barred[member.id] = barred.union(rooms) if rooms else None

    def _fixed_rooms(self, member: Member) -> tuple[str | None, ...]:
        users_room = self._users_room_of.get(member.id)
        return (None,) if users_room is None else (None, users_room)

    def _notify_of_user(self, users_room: str | None) -> None:
        if self.user_changed is not None and users_room is not None:
            self.user_changed(users_room.removeprefix(user_room("")))

    def _put_in(self, member: Member, rooms: Iterable[str | None]) -> list[str]:
        groups = []
        for room in rooms:
            key = member.namespace, room
            group = group_name(*key)
            self._rooms.setdefault(key, {})[member.id] = member
            self._room_of_group[group] = key
            groups.append(group)
        return groups

    def _take_out(self, member: Member, rooms: Iterable[str | None]) -> list[str]:
        empty = []
        for room in rooms:
            key = member.namespace, room
            members = self._rooms.get(key)
            if members is None or members.pop(member.id, None) is None or members:
                continue
            del self._rooms[key]
            group = group_name(*key)
            self._room_of_group.pop(group, None)
            empty.append(group)
        return empty

    # Looking

    def find(self, connection_id: str) -> Member | None:
        """Return a connection of any namespace, accepted or not."""
        return self._members.get(connection_id)

    def get(self, namespace: str, connection_id: str) -> Member | None:
        """Return a connection of a namespace, accepted or not."""
        member = self.find(connection_id)
        return member if member is not None and member.namespace == namespace else None

    def all(self) -> list[Member]:
        """Return the connections of all namespaces, accepted or not."""
        return list(self._members.values())

    def user_of(self, member: Member) -> str | None:
        """Return the user of a connection as of_user() takes it; ``None`` for an anonymous one."""
        users_room = self._users_room_of.get(member.id)
        return None if users_room is None else users_room.removeprefix(user_room(""))

    def of_user(self, user_id: object) -> list[Member]:
        """Return the connections of a user, of all namespaces, accepted or not."""
        room = user_room(user_id)
        return [member for name in self.namespaces for member in self.present(name, [room])]

    def present(self, namespace: str, rooms: Iterable[str | None]) -> tuple[Member, ...]:
        """Return the connections in any of these rooms, each once, accepted or not."""
        groups = [members for room in rooms if (members := self._rooms.get((namespace, room)))]
        if len(groups) == 1:
            return tuple(groups[0].values())
        present: dict[str, Member] = {}
        for members in groups:
            present.update(members)
        return tuple(present.values())

    def room(self, key: _Room) -> Mapping[str, Member]:
        """Return the connections in a room by their ids, accepted or not."""
        return self._rooms.get(key, {})

    def members(self, namespace: str, room: str | None = None) -> list[Member]:
        """Return the accepted members of a room, or of the whole namespace."""
        members = [member for member in self.room((namespace, room)).values() if member.is_accepted]
        if (guests := self.guests.by_room.get((namespace, room))) is not None and guests.waiting:
            return [each for each in members if each.id in guests.inside or each.id not in guests.waiting]
        return members

    def names(self, namespace: str) -> list[str]:
        """Return the names of the rooms that have an accepted member, sorted."""
        waited_in = {room for (_, room), guests in self.guests.by_room.items() if guests.waiting}
        return sorted(
            name
            for (of_namespace, name), members in self._rooms.items()
            if of_namespace == namespace
            and name is not None
            and not name.startswith(RESERVED_PREFIX)
            and any(member.is_accepted for member in members.values())
            and (name not in waited_in or self.members(namespace, name))
        )

    def count_rooms(self) -> Counter[str]:
        """Return how many rooms have a member, by namespace; without those that a connection cannot leave."""
        return Counter(
            namespace for namespace, name in self._rooms if name is not None and not name.startswith(RESERVED_PREFIX)
        )

    def rooms_of(self, connection_id: str) -> frozenset[str]:
        """Return the names of the rooms that a connection has joined."""
        waiting = [guest.key[1] for guest in self.guests.of(connection_id) if guest.is_waiting]
        return frozenset(self._rooms_of.get(connection_id, ())).difference(waiting)

    def has_joined(self, connection_id: str, room: str) -> bool:
        """Return whether a connection has joined a room, or waits in it."""
        return room in self._rooms_of.get(connection_id, ())

    def all_rooms_of(self, connection_id: str) -> list[str]:
        """Return the names of the rooms that a connection has joined, or is about to join as a guest."""
        guests = [guest.key[1] for guest in self.guests.of(connection_id)]
        return list(dict.fromkeys([*self._rooms_of.get(connection_id, ()), *guests]))

    def room_of(self, group: str) -> _Room | None:
        """Return the namespace and the name of the room that has this group, if the room has a member here."""
        return self._room_of_group.get(group)


_ABSENT = object()
