"""One hub's place among the processes of a site: it sends, receives and queries over a channel layer.

A node is named by its hub's id. Each of its parts has its own module: sends (publisher), joins and leaves (receiver,
subscriptions), received messages (traffic, gaps, control), requests for numbers that it missed (inquiries), heartbeats
and the lack of them (heartbeat, directory, liveness, healing, eviction), queries and replies (rpc, responder). This
module wires them to one another, to the layer (transport) and to the clock (ticker).

Rules kept here:

- A node that does not receive its own messages, or was paused, does not judge others.
- An expired node is not queried, and is removed from the groups once the layer keeps no messages for it.
- A node without connections is known to the others, but not queried: a server that ends when its connections end leaves
  no query waiting.
- The others are notified of the end, which leaves nothing behind, in this process or in the broker.
"""

import asyncio
import contextvars
import logging
from collections.abc import Coroutine, Sequence
from functools import partial
from typing import Any

from django_etp.concurrency.confirmations import Confirmation
from django_etp.conf.layer_names import ask_group, control_group, hub_group

from .control import Control
from .directory import Directory
from .eviction import Eviction
from .healing import Healing
from .heartbeat import Heartbeat
from .host import Host
from .inquiries import Inquiries
from .liveness import Liveness
from .load import load_of
from .messages import Frame, Query, pack
from .publisher import Publisher
from .receiver import Receiver
from .responder import Responder
from .rpc import Queries
from .tasks import Tasks, bounded
from .ticker import Ticker
from .traffic import Traffic
from .transport import Transport

__all__ = ["Node"]

logger = logging.getLogger(__name__)

_READY_LIMIT = 1.0
# Others answer a new node's heartbeat at once. Until then a node that knows no other may not be alone.
_KNOWS_ALL_AFTER = 1.0
# Three heartbeats, by which every living node has sent one, in seconds.
_NONE_UNKNOWN_AFTER = 6.0
# The limits of an end, in seconds: to send the frames that wait, then to announce the end.
_FLUSH_LIMIT = 2.0
_END_LIMIT = 1.0


class Node:
    """One hub's place in a channel layer.

    Args:
        host: the hub.
        alias: the layer in ``CHANNEL_LAYERS``.
        is_serving: whether the hub will have connections; a background hub, which only sends and asks, receives no room
            traffic.
    """

    def __init__(self, host: Host, alias: str, *, is_serving: bool) -> None:
        self._alias = alias
        self._report_loss = host.report_loss
        self._hub_group, own_ask_group = hub_group(host.id), ask_group(host.id)
        self._tasks = Tasks()
        self._run = self._tasks.run
        self._transport = Transport(alias)
        self._directory = Directory()
        self._liveness = Liveness(receives_rooms=is_serving)
        self._heartbeat = Heartbeat(host.id, self._hub_group, self._transport, self._directory, self._liveness)
        self._publisher = Publisher(host.id, self._transport.send, partial(self._transport.send, control_group()))
        self.load = partial(load_of, self._publisher, self._liveness)
        self._queries = Queries(host.id, self._send_query, own_ask_group, self._directory.is_gone)
        self._traffic = Traffic(host, self._liveness, self._publisher.owns)
        self._eviction = Eviction(self._transport, self._directory, lambda: self._receiver.traffic_groups, self._run)
        self._inquiries = Inquiries(
            own_ask_group,
            transport=self._transport,
            directory=self._directory,
            liveness=self._liveness,
            publisher=self._publisher,
            traffic=self._traffic,
            groups=lambda: self._receiver.traffic_groups,
            run=self._run,
        )
        control = Control(
            host.id,
            liveness=self._liveness,
            directory=self._directory,
            heartbeat=self._heartbeat,
            eviction=self._eviction,
            inquiries=self._inquiries,
            queries=self._queries,
            responder=Responder(host, self._transport, self._directory, self._run),
            rejoin=lambda: self._receiver.join_again(),
            run=self._run,
            is_serving=is_serving,
        )
        self._receiver = Receiver(
            self._transport,
            (own_ask_group, control_group()),
            self._hub_group if is_serving else None,
            control.receive,
            self._traffic.receive,
            self._traffic.joined,
        )
        self._healing = Healing(self._receiver, self._liveness, self._heartbeat, self._healed, self._run)
        self._ticker = Ticker(self._tick, self._paused, host.stop)
        self._next_beat = self._next_round = 0.0
        self._entering: asyncio.Task[None] | None = None
        self._stopping: asyncio.Task[None] | None = None

    # Called by the hub

    @property
    def others(self) -> frozenset[str]:
        """The ids of the other hubs that live and have connections."""
        return self._directory.serving

    @property
    def knows_others(self) -> bool:
        """Whether it has received messages for so long, without a pause, that a hub not in ``others`` does not live."""
        return self._liveness.receives_for(asyncio.get_running_loop().time()) > _NONE_UNKNOWN_AFTER

    def unheard_of(self, hubs: frozenset[str]) -> frozenset[str]:
        """Return those of these hubs that may live, although this node has not heard of them yet."""
        return frozenset() if self.knows_others else self._directory.unheard_of(hubs)

    async def start(self) -> None:
        """Enter as a hub with connections; wait until the others know of it, for 1 s at most."""
        if not self._heartbeat.has_connections:
            self._heartbeat.has_connections = True
            self._entering = None
        await self._enter()

    def stop_serving(self) -> None:
        """Announce that the hub has no connections any more and need not be queried; all else goes on."""
        self._heartbeat.has_connections = False
        if self._ticker.is_running:
            self._run(self._heartbeat.announce())

    async def stop(self) -> None:
        """Leave, within a bounded time: send the last numbers, announce the end, close all.

        The node may start again.
        """
        if self._stopping is None:
            is_known = self._entering is not None and not self._healing.is_needed
            self._ticker.stop()
            self._tasks.cancel()
            self._eviction.stop()
            self._healing.stop()
            self._entering = None
            self._heartbeat.has_connections = False
            self._stopping = asyncio.get_running_loop().create_task(self._leave(is_known=is_known))
        await asyncio.shield(self._stopping)

    def join(self, group: str) -> Coroutine[Any, Any, None]:
        """Join a group. See Subscriptions.join()."""
        return self._receiver.join(group)

    async def leave(self, group: str) -> None:
        """Leave a group."""
        self._traffic.leave(group)
        self._receiver.leave(group)

    def publish(self, groups: Sequence[str], frame: Frame, *, beside: Sequence[str] = ()) -> list[Confirmation]:
        """Send a frame to groups. See Publisher.publish()."""
        return self._publisher.publish(groups, frame, beside=beside)

    def publish_to_hub(self, hub: str, frame: Frame) -> list[Confirmation]:
        """Send a frame to one hub. See Publisher.publish()."""
        return self._publisher.publish([hub_group(hub)], frame)

    async def ask(self, hub: str | None, action: str, arguments: list[Any], timeout: float) -> dict[str, Any]:
        """Query one other hub, or all others, and return their results by hub id. See Queries.ask().

        A query to a hub that this node does not know goes to all others; if that hub is not among them, it has no
        result.
        """
        await self._enter()
        now = asyncio.get_running_loop().time()
        known = self._directory.serving
        # A hub may be unknown because it is gone, because only others know it yet, or because this node is new itself.
        target = hub if hub in known else None
        return await self._queries.ask(
            target,
            known,
            action,
            arguments,
            timeout,
            late=self._directory.late(now),
            knows_all=self._liveness.receives_for(now) > _KNOWS_ALL_AFTER,
            expects_one=hub is not None,
        )

    # Entering and leaving

    async def _enter(self) -> None:
        if self._entering is None:
            # In a context of its own: the tasks that begin here outlive the connection that the caller serves.
            self._entering = asyncio.get_running_loop().create_task(self._begin(), context=contextvars.Context())
        # Shielded: the caller may be cancelled before it is done, and others wait for it, too.
        await asyncio.shield(self._entering)

    async def _begin(self) -> None:
        if self._stopping is not None:
            await asyncio.shield(self._stopping)
        if not self._ticker.is_running:
            now = asyncio.get_running_loop().time()
            self._resume(now)
            self._next_beat, self._next_round = now + self._heartbeat.interval, now
            self._ticker.start()
        elif self._healing.is_needed:
            return  # healing announces it as soon as it can
        # Wanted at once: if the layer does not respond now, healing joins them.
        self._receiver.want_own_groups()
        try:
            async with asyncio.timeout(_READY_LIMIT):
                await self._receiver.begin()
                await self._heartbeat.announce(is_new=True, wait=True)
        except Exception as error:
            logger.warning(
                "The channel layer %r did not respond within %g s; this process goes on alone, and joins the others as "
                "soon as it does. (%r)",
                self._alias,
                _READY_LIMIT,
                error,
            )

    async def _leave(self, *, is_known: bool) -> None:
        try:
            await bounded(self._publisher.stop(), _FLUSH_LIMIT)
            if is_known:
                await bounded(self._heartbeat.announce_end(), _END_LIMIT)
                self._traffic.leave(self._hub_group)
                await self._receiver.leave_own_groups()
            await self._transport.close()
        finally:
            self._receiver.stop()
            self._stopping = None

    async def _send_query(self, hub: str | None, query: Query) -> None:
        await self._transport.send_control(control_group() if hub is None else ask_group(hub), pack(query))

    # Periodic work

    def _paused(self, now: float) -> None:
        self._resume(now)
        self._receiver.join_again()  # others may have evicted this node, and have forgotten that by now

    def _resume(self, now: float) -> None:
        """Begin all deadlines anew, after a pause or at the start."""
        self._healing.restart(now)
        self._liveness.record_deafness()
        self._liveness.restart(now)
        self._directory.restart(now)
        self._traffic.restart(now)

    def _tick(self, now: float) -> None:
        for loss in self._traffic.losses(now):
            self._receiver.join_group_again(loss.group)
            self._report_loss(loss)
        if self._traffic.needs_echo(now):
            self._run(self._heartbeat.send_echo())
        self._healing.look(now)
        if self._healing.is_needed:
            self._directory.restart(now)
            self._traffic.restart(now)
        else:
            self._inquiries.look(now)
        if not self._ticker.is_late:  # else heartbeats and receipts may have arrived, and wait to be read
            self._queries.give_up(self._directory.late(now))
        if now >= self._next_beat:
            self._next_beat = now + self._heartbeat.interval
            self._receiver.join_control_again()
            for hub in self._eviction.evict_expired(now):
                self._queries.forget(hub)
            if not self._heartbeat.is_sending:  # else the layer is slow, and has enough to do
                self._run(self._heartbeat.announce())
            self._run(self._heartbeat.send_echo())
        if now >= self._next_round:
            self._next_round = now + self._transport.rejoin_interval
            self._traffic.forget_old(now)
            self._receiver.join_again()

    def _healed(self, silence: float) -> None:
        self._publisher.send_numbers_again()
        self._inquiries.ask_all(silence)
