"""Sample what no signal reports: rooms, queues, and the lag of the channel layer and of the relay.

Rules kept here:

- A server process takes a sample every 5 s, from its first connection to its end. So the values are that old at most.
- The outbox of durable events is queried in a thread, and not while an earlier query goes on.
"""

import asyncio
import logging

from django.apps import apps
from django.utils.module_loading import import_string

from django_etp.concurrency.workers import run_own
from django_etp.exceptions import describe
from django_etp.hub.hub import Hub

from . import metrics

__all__ = ["Sampler"]

logger = logging.getLogger(__name__)

_INTERVAL = 5.0
_OUTBOX = "django_etp.outbox"


class Sampler:
    """Samples the hub of a server process."""

    def __init__(self) -> None:
        self._hub: Hub | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._query: asyncio.Task[None] | None = None
        self._namespaces: set[str] = set()

    def start(self, hub: Hub) -> None:
        """Sample a hub from now on, unless that is done already."""
        if self._hub is not hub or self._timer is None:
            self._end_timer()
            self._hub = hub
            self._sample(hub)

    async def stop(self) -> None:
        """Take no more samples."""
        self._end_timer()

    def _end_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _sample(self, hub: Hub) -> None:
        self._timer = hub.loop.call_later(_INTERVAL, self._sample, hub, context=hub.context.copy())
        rooms = hub.membership.count_rooms()
        self._namespaces.update(rooms)
        for namespace in self._namespaces:
            metrics.ROOMS.labels(namespace).set(rooms[namespace])
        load = hub.batches.load()
        metrics.PUBLISH_QUEUE_EVENTS.set(load.frames)
        metrics.PUBLISH_QUEUE_BYTES.set(load.size)
        metrics.LAYER_LAG.set(load.lag)
        clients, size = hub.flusher.watch.waiting()
        metrics.OUTBOX_CLIENTS.set(clients)
        metrics.OUTBOX_BYTES.set(size)
        if apps.is_installed(_OUTBOX) and (self._query is None or self._query.done()):
            self._query = hub.run(_sample_relay())


async def _sample_relay() -> None:
    try:
        await run_own(_query_relay)
    except Exception as error:
        logger.debug("The outbox could not be sampled: %s", describe(error))


def _query_relay() -> None:
    rows = import_string(f"{_OUTBOX}.rows")  # not installed in each project, and its models cannot be imported then
    for database in rows.databases():
        summary = rows.summarize(database)
        metrics.RELAY_LAG.labels(database).set(summary.lag.total_seconds())
        metrics.RELAY_WAITING.labels(database).set(summary.waiting)
        metrics.RELAY_FAILED.labels(database).set(summary.failed)
