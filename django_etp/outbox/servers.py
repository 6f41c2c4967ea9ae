"""Relay durable events in server processes, and under tests in the thread that stored them."""

import asyncio
import os

from django_etp.concurrency.bridge import refuse_in_event_loop
from django_etp.hub.hub import Hub
from django_etp.hub.process import process_hub

from .commits import is_under_test
from .delivery import Delivery
from .models import OutboxEvent
from .relay import Relay
from .rows import databases

__all__ = ["ServerRelays", "deliver_under_test"]

# How long the end of a server waits for what the relays have under way, in seconds.
_STOP_LIMIT = 3.0


class ServerRelays:
    """The relays of one server process, one for each database."""

    def __init__(self) -> None:
        self._relays: list[Relay] = []
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=lambda: self._relays.clear())

    def start(self, hub: Hub) -> None:
        """Relay through a hub until stop(), or until its loop ends. Does nothing while that is done already."""
        if any(not relay.ended.done() for relay in self._relays) or is_under_test():
            return
        self._relays = [Relay(using, lambda: hub if hub.loop.is_running() else None) for using in databases()]
        for relay in self._relays:
            relay.start()

    async def stop(self) -> None:
        """Stop, and wait for what is under way, within a bounded time."""
        for relay in self._relays:
            relay.stop()
        ended = [asyncio.wrap_future(relay.ended) for relay in self._relays]
        if ended:
            await asyncio.wait(ended, timeout=_STOP_LIMIT)


def deliver_under_test(using: str) -> None:
    """Send the events that a test has stored, through this process's hub, and remove them."""
    refuse_in_event_loop("emit_on_commit")
    hub = process_hub()
    if hub is None:  # there are no connections
        OutboxEvent.objects.using(using).all().delete()
        return
    delivery = Delivery(using)
    while delivery.deliver(hub).has_more:
        pass
