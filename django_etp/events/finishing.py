"""Results of handlers that are sent in a way of their own, in place of one answer."""

from collections.abc import Awaitable, Callable

from django_etp.connections.peer import Peer
from django_etp.protocol.frames import Event

__all__ = ["Finishing"]


class Finishing:
    """A result that sends its own answer, and does what follows that."""

    __slots__ = ()

    async def finish(self, peer: Peer, event: Event, save: Callable[[], Awaitable[None]]) -> None:
        """Send the answer to an event, if the client has asked for one; ``save`` writes the connection's data."""
        raise NotImplementedError
