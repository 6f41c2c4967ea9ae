"""Deliver a frame to the members of rooms in one process.

Rules kept here:

- A member of several of the rooms gets one copy.
- A guest of a declared room gets the frame as an event inside that room, which is encoded once for all guests.
- Any other member gets it as it is.
- A room without guests costs one more look into a dict, and nothing if no room of the process has any.
- If the join of a guest is under way, the frame is held for it, unless it is a member of one of the rooms anyway.
"""

from collections.abc import Sequence

from django_etp.protocol.rooms import in_room

from .guests import RoomGuests
from .members import Member
from .membership import Membership

__all__ = ["deliver"]


def deliver(
    membership: Membership, namespace: str, rooms: Sequence[str | None], text: str, exclude: frozenset[str]
) -> tuple[Member, ...]:
    """Deliver a frame to the members of rooms but those in ``exclude``; return the members, with those."""
    members = membership.present(namespace, rooms)
    by_room = membership.guests.by_room
    if by_room and rooms:
        room = rooms[0]
        guests = by_room.get((namespace, room))
        if len(rooms) > 1 or (guests is not None and (guests.waiting or len(guests.inside) < len(members))):
            _deliver_each(membership, [(namespace, room) for room in rooms], members, text, exclude)
            return members
        if guests is not None:
            text = in_room(room, text)
    for member in members:
        if member.id not in exclude:
            member.deliver(text)
    return members


def _deliver_each(
    membership: Membership,
    rooms: list[tuple[str, str | None]],
    members: tuple[Member, ...],
    text: str,
    exclude: frozenset[str],
) -> None:
    by_room, none = membership.guests.by_room, RoomGuests()
    places = [(membership.room(key), by_room.get(key, none), in_room(key[1], text)) for key in rooms]
    for member in members:
        id = member.id
        if id in exclude:
            continue
        is_member, waiting = False, None
        for present, guests, framed in places:
            if id in guests.waiting:
                waiting = waiting or (guests.waiting[id], framed)
            elif id in guests.inside:
                member.deliver(framed)
                break
            elif id in present:
                is_member = True
        else:
            if is_member:
                member.deliver(text)
            elif waiting is not None:
                waiting[0].hold(waiting[1])
