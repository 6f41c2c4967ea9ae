"""Deliver a frame to the members of rooms in one process.

Rules kept here:

- A member of several of the rooms gets one copy.
- A guest of a declared room gets the frame as an event inside that room, which is encoded once for all guests.
- Any other member gets it as it is.
- A room without guests costs one more look into a dict, and nothing if no room of the process has any.
- If the join of a guest is under way, the frame is held for it, unless it is a member of one of the rooms anyway.
"""

from collections.abc import Sequence

from django_etp.cluster.messages import Foreign, Frame, Malformed
from django_etp.exceptions import EtpError
from django_etp.history.store import Position
from django_etp.protocol.rooms import in_room
from django_etp.serialization import to_frame

from .emissions import Emissions
from .guests import RoomGuests
from .members import Member
from .membership import Membership

__all__ = ["deliver", "deliver_frame", "foreign_frame"]


def deliver(
    membership: Membership,
    namespace: str,
    rooms: Sequence[str | None],
    text: str,
    exclude: frozenset[str],
    position: Position | None = None,
) -> tuple[Member, ...]:
    """Deliver a frame to the members of rooms but those in ``exclude``; return the members, with those.

    ``position`` is that of the event, if it is for a room with history, which is the only one then.
    """
    members = membership.present(namespace, rooms)
    by_room = membership.guests.by_room
    if by_room and rooms:
        room = rooms[0]
        guests = by_room.get((namespace, room))
        if len(rooms) > 1 or (guests is not None and (guests.waiting or len(guests.inside) < len(members))):
            _deliver_each(membership, [(namespace, room) for room in rooms], members, text, exclude, position)
            return members
        if guests is not None:
            text = in_room(room, text, position)
    for member in members:
        if member.id not in exclude:
            member.deliver(text)
    return members


def deliver_frame(membership: Membership, emissions: Emissions, group: str, frame: Frame) -> Sequence[Member]:
    """Deliver a frame from another process to its members here, and return those. See deliver()."""
    if frame.connection_id:
        if member := membership.get(frame.namespace, frame.connection_id):
            member.deliver(frame.text)
            return (member,)
    elif (key := membership.room_of(group)) and (not frame.emission or emissions.is_first(frame.emission)):
        return deliver(membership, key[0], frame.rooms or [key[1]], frame.text, frame.exclude)
    return ()


def _deliver_each(
    membership: Membership,
    rooms: list[tuple[str, str | None]],
    members: tuple[Member, ...],
    text: str,
    exclude: frozenset[str],
    position: Position | None,
) -> None:
    by_room, none = membership.guests.by_room, RoomGuests()
    places = [(membership.room(key), by_room.get(key, none), in_room(key[1], text, position)) for key in rooms]
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
                waiting[0].hold(waiting[1], position)


def foreign_frame(message: Foreign) -> str:
    """Return the frame of an event of other Channels code.

    Raises:
        Malformed: it is not an event that can be sent.
    """
    try:
        return to_frame(message.event, message.data)
    except EtpError as error:
        raise Malformed(f"an event that other code sent to a room's group is not valid: {error}") from error
