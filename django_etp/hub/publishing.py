"""Publish one frame to the rooms of a namespace, through the groups that reach all their members, and report sends."""

from collections.abc import Sequence

from django_etp.cluster.links import Link
from django_etp.cluster.messages import Frame
from django_etp.concurrency.confirmations import Confirmation
from django_etp.protocol.frames import decode
from django_etp.signals import notify, room_sent

from .names import group_name

__all__ = ["publish", "report_sent"]

# Each message of a send to several rooms holds the names of all rooms, and the ids of connections that do not get it.
# If that would be more names and ids in all, the send goes through the group of the rooms' namespace, once.
_MANY_NAMES = 1024


def publish(
    link: Link, namespace: str, rooms: Sequence[str | None], frame: Frame, beside: Sequence[str] = ()
) -> list[Confirmation]:
    """Send a frame to rooms, or to the whole namespace (``[None]``); return a confirmation for each send.

    It overtakes nothing that waits for the groups ``beside``.

    Raises:
        LayerUnavailable: it was not sent.
    """
    if len(rooms) == 1 and not beside:  # most sends
        return link.publish([group_name(namespace, rooms[0])], frame)
    groups = [group_name(namespace, room) for room in rooms]
    if len(rooms) > 1 and len(rooms) * (len(rooms) + len(frame.exclude)) > _MANY_NAMES:
        return link.publish([group_name(namespace, None)], frame, beside=[*groups, *beside])
    return link.publish(groups, frame, beside=[each for each in beside if each not in groups] if groups else ())


def report_sent(namespace: str, rooms: Sequence[str] | None, text: str) -> None:
    """Send the signal for an event that this process sends to rooms, or to the whole namespace (``None``)."""
    where = None if rooms is None else tuple(rooms)
    notify(room_sent, namespace=namespace, rooms=where, event=decode(text).name)
