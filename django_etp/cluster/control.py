"""Control messages as one node receives them: heartbeats, evictions, last numbers, queries and replies."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from .directory import Directory
from .eviction import Eviction
from .heartbeat import Heartbeat
from .inquiries import Inquiries
from .liveness import Liveness
from .messages import Beat, Evicted, Malformed, Message, Numbers, Query, Receipt, Reply, Wanted
from .responder import Responder
from .rpc import Queries

__all__ = ["Control"]


class Control:
    """Passes each control message to the part of a node that it concerns.

    Args:
        hub: the id of the node's hub.
        rejoin: joins all groups again.
        run: starts a task.
        is_serving: whether the node replies to queries, and to the first heartbeat of a new node.
    """

    def __init__(
        self,
        hub: str,
        *,
        liveness: Liveness,
        directory: Directory,
        heartbeat: Heartbeat,
        eviction: Eviction,
        inquiries: Inquiries,
        queries: Queries,
        responder: Responder,
        rejoin: Callable[[], None],
        run: Callable[[Coroutine[Any, Any, None]], object],
        is_serving: bool,
    ) -> None:
        self._hub = hub
        self._liveness = liveness
        self._directory = directory
        self._heartbeat = heartbeat
        self._eviction = eviction
        self._inquiries = inquiries
        self._queries = queries
        self._responder = responder
        self._rejoin = rejoin
        self._run = run
        self._is_serving = is_serving

    def receive(self, message: Message) -> None:
        """Process a message from the channel for control messages.

        Raises:
            Malformed: it does not belong there, or is wrong.
        """
        now = asyncio.get_running_loop().time()
        if isinstance(message, Beat) or (isinstance(message, Numbers) and not message.asked):
            # Others may arrive though the control group has forgotten this node.
            self._liveness.record_control(now)
        match message:
            case Beat() if message.hub == self._hub:
                self._heartbeat.receive(message)
            case Beat():
                self._receive_beat(message, now)
            case Evicted():
                if message.hub == self._hub:
                    self._rejoin()
                    self._inquiries.ask_all()
            case Numbers():
                self._inquiries.receive_numbers(message)
            case Wanted():
                self._inquiries.receive_request(message)
            case Query() if self._queries.owns(message):
                self._queries.receive_own(message.id, self._directory.serving)
            case Query():
                if self._is_serving:
                    self._run(self._responder.reply(message))
            case Receipt():
                self._queries.receive_receipt(message)
            case Reply():
                self._queries.receive(message)
            case _:
                raise Malformed(f"a message of type {message.type!r} does not belong on a control group")

    def _receive_beat(self, beat: Beat, now: float) -> None:
        if not self._heartbeat.resembles(beat):
            raise Malformed(f"a heartbeat must name a hub and a node's channels, got {beat!r:.200}")
        had_expired = self._directory.record(beat, now)
        if had_expired:
            self._eviction.end(beat.hub)
        if beat.is_last:
            self._queries.forget(beat.hub)
        if beat.is_new and self._is_serving:
            self._run(self._heartbeat.announce())
