"""Hubs with connections, in the test's own process, for the tests of the live page."""

import asyncio
from types import SimpleNamespace
from typing import Any

from django_etp.connections.outbox import Outbox
from django_etp.connections.peer import Peer
from django_etp.connections.state import OPEN
from django_etp.hub.hub import Hub
from django_etp.hub.queries import answer


class Owner:
    """What a server's side of a connection is to its peer and its outbox."""

    async def accept(self) -> None: ...

    def begin_end(self) -> None: ...

    def reads_too_slowly(self, facts: str) -> None: ...

    def write_failed(self, error: Exception) -> None: ...


def make_hub() -> Hub:
    """Return a hub without a channel layer, if the settings have none."""
    return Hub(asyncio.get_running_loop(), answer, is_serving=False)


class Wire:
    """The ``send`` of a server, which keeps what it was given; maybe with calls, as django_etp.uvicorn has."""

    def __init__(self) -> None:
        self.transport = SimpleNamespace(get_write_buffer_size=lambda: 7)
        self.sent: list[str] = []
        self.is_behind = False

    async def send(self, message: dict[str, Any]) -> None:
        self.sent.append(message.get("text", message["type"]))

    def receive_by(self, take: Any) -> Any:
        return take

    def offer(self, text: str) -> bool:
        if not self.is_behind:
            self.sent.append(text)
        return not self.is_behind


def connect(
    hub: Hub,
    name: str = "",
    *rooms: str,
    at: float = 1000.0,
    key: int = 1,
    namespace: str = "default",
    wire: Wire | None = None,
    offers_calls: bool = False,
    **scope: Any,
) -> Peer:
    """Return an open connection of a user with this name, in these rooms."""
    user = SimpleNamespace(pk=key, USERNAME_FIELD="name", name=name, is_authenticated=True) if name else None
    wire, owner = wire or Wire(), Owner()
    outbox = Outbox(wire.send, owner, hub.flusher, wire if offers_calls else None)
    outbox.state = OPEN
    peer = Peer({"user": user, **scope}, hub, outbox, namespace=namespace, owner=owner)
    peer._connected_at = at
    hub.membership.add(peer, peer.user_id)
    hub.membership.enter(peer)
    hub.membership.join(peer, rooms)
    return peer
