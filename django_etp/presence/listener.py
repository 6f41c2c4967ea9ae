"""A listener in a reserved room: it exchanges messages with other processes there.

To the hub it is a member of the room that is never accepted, so that nothing counts or lists it.
"""

from collections.abc import Callable
from contextvars import Context
from itertools import count
from typing import TYPE_CHECKING, cast

from django_etp.cluster.messages import Frame, Malformed
from django_etp.cluster.reader import complain
from django_etp.concurrency.confirmations import Confirmation
from django_etp.exceptions import LayerUnavailable
from django_etp.hub.delivery import deliver
from django_etp.hub.hub import Hub
from django_etp.hub.names import group_name

from .messages import Message, read

if TYPE_CHECKING:
    from django_etp.hub.members import Member

__all__ = ["Listener"]

_numbers = count(1)


class Listener:
    """Receives the messages in one reserved room.

    Args:
        hub: the hub of this process.
        namespace: the namespace of the room.
        receive: is called with each message, this process's own included.
    """

    __slots__ = ("_hub", "_receive", "id", "namespace")

    is_accepted = False
    is_far_behind = False

    def __init__(self, hub: Hub, namespace: str, receive: Callable[[Message], None]) -> None:
        self.id = f"{hub.id}.listener{next(_numbers)}"
        self.namespace = namespace
        self._hub = hub
        self._receive = receive

    async def listen(self, room: str) -> None:
        """Enter the room; return once it is certain that messages arrive."""
        await self._hub.join_groups(self._hub.membership.listen(cast("Member", self), room))

    def send(self, room: str, text: str) -> list[Confirmation]:
        """Send a message to the room; return its confirmations. It may be lost: a digest shows what others lack."""
        try:
            # In a context of its own: a message is no event, so it is no part of a trace that the caller is in.
            return Context().run(self._send, room, text)
        except LayerUnavailable:
            return []

    def _send(self, room: str, text: str) -> list[Confirmation]:
        own = frozenset([self.id])
        deliver(self._hub.membership, self.namespace, [room], text, own)
        return self._hub.link.publish([group_name(self.namespace, room)], Frame(text, own))

    def deliver(self, frame: str) -> None:
        """Receive a message."""
        try:
            self._receive(read(frame))
        except Malformed as error:
            complain(error)

    def close(self) -> None:
        """Leave the room."""
        self._hub.run(self._hub.remove(cast("Member", self)))
