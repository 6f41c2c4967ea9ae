"""Describe messages that the channel layer lost on the way to a hub."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Protocol

from django_etp.cluster.gaps import Loss
from django_etp.conf.layer_names import hub_group
from django_etp.exceptions import MessagesLost
from django_etp.signals import messages_lost, notify

from .membership import Membership
from .names import RESERVED_PREFIX, UserRoom
from .parts import Presence

__all__ = ["describe_loss", "report_forgotten", "report_lost"]

logger = logging.getLogger(__name__)


class Reporting(Protocol):
    """A hub, as far as it reports losses."""

    membership: Membership
    report: Callable[[str, Exception], Coroutine[Any, Any, None]] | None

    def run(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a coroutine whatever becomes of the task that asks for it."""


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


def report_lost(hub: Reporting, errors: Iterable[MessagesLost]) -> None:
    """Report what a hub has lost to ``on_error``, which logs it; or to the log alone."""
    for error in errors:
        notify(messages_lost, error=error)
        if hub.report is None:
            logger.error("%s", error)
        else:
            hub.run(hub.report(error.namespace or "default", error))


def report_forgotten(hub: Reporting, group: str, count: int) -> None:
    """Report events of a room with history, by its group, that a hub has missed, and the store does not have."""
    namespace, room = hub.membership.room_of(group) or (None, None)
    text = (
        f"This process missed {count:,} events of room {room!r:.80}, and the history does not have them any more: it "
        "was emptied, or it is too short for so many events. Raise History(size=) or History(seconds=)."
    )
    error = MessagesLost(text, group=group, messages=count, frames=count, room=room, namespace=namespace)
    report_lost(hub, [error])
