"""Describe messages that the channel layer lost on the way to a hub."""

from collections.abc import Iterable

from django_etp.cluster.gaps import Loss
from django_etp.conf.layer_names import hub_group
from django_etp.exceptions import MessagesLost

from .membership import Membership
from .names import RESERVED_PREFIX, UserRoom
from .parts import Presence

__all__ = ["describe_loss"]


def describe_loss(loss: Loss, membership: Membership, presence: Presence | None = None) -> list[MessagesLost]:
    """Return an error for each namespace that a loss concerns; one without a namespace if that is not known.

    Messages about presence are asked for again: there is no error.
    """
    if presence is not None and presence.repair(loss.group):
        return []
    namespaces: Iterable[str | None] = [None]
    room = None
    if key := membership.room_of(loss.group):
        namespaces, room = [key[0]], key[1]
        whose = "of the whole namespace" if room is None else f"of room {room!r:.80}"
        if room is not None and room.startswith(RESERVED_PREFIX):
            room = UserRoom(room)  # a hook may send to the room
    elif loss.group.startswith(hub_group("")):
        namespaces = membership.namespaces or namespaces
        whose = "sent to single connections"
    else:
        whose = "of a room that has no members here any more"
    text = (
        f"The channel layer lost {loss.messages} messages with {loss.frames} events on the way to this process, "
        f"{whose}. Likely causes: its capacity was full (raise 'capacity', or use RedisPubSubChannelLayer), or the "
        "broker was restarted or unreachable."
    )
    return [
        MessagesLost(text, group=loss.group, messages=loss.messages, frames=loss.frames, room=room, namespace=namespace)
        for namespace in namespaces
    ]
