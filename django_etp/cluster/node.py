"""A hub's place in a channel layer that spans processes: hearing, sending, asking, and staying alive.

Each has its own part: room traffic (publisher, gaps), joins and leaves (receiver, subscriptions), signs of life
(heartbeat, directory, liveness, healing, eviction), queries and replies (rpc). This module wires them to one another,
to the layer (transport) and to the clock.

Rules kept here:

- A hub that does not hear itself, or was paused, does not judge others.
- Who is taken for dead is removed from the groups, and told so when it is heard of again.
- A hub without connections is heard of, but not asked: a server that ends with its connections is missed by nobody.
- The end is told to the others, and leaves nothing behind, in this process or in the broker.
"""

import asyncio
import contextvars
import logging
import time
from collections.abc import Coroutine, Sequence
from functools import partial
from typing import Any, Protocol

from django_etp.concurrency.confirmations import Confirmation
from django_etp.exceptions import EtpError

from .directory import Directory
from .eviction import Eviction
from .gaps import GapTracker, Loss
from .healing import Healing
from .heartbeat import Heartbeat
from .liveness import Liveness
from .messages import (
    ASK_PREFIX,
    CONTROL_GROUP,
    HUB_PREFIX,
    Beat,
    Echo,
    Evicted,
    Foreign,
    Frame,
    Heard,
    Malformed,
    Message,
    Numbers,
    Query,
    Reply,
    RoomMessage,
    pack,
)
from .publisher import Publisher
from .reader import complain
from .receiver import Receiver
from .rpc import Queries
from .transport import Transport

__all__ = ["Host", "Node"]

logger = logging.getLogger(__name__)

_TICK = 0.25
# A tick that comes this much late means that the whole process stood still.
_PAUSED = 1.5
_READY_LIMIT = 1.0
_SLOWEST_ROUND = 600.0
# Signs of life go through one server of a layer: what another forgets is noticed by nobody.
_SLOWEST_ROUND_WHERE_SPREAD = 30.0
# Others answer to a new hub at once. Until then one that knows nobody does not know whether it is alone.
_KNOWS_ALL_AFTER = 1.0
# Three heartbeats, after which all that live have been heard of, in seconds.
_NOBODY_IS_UNKNOWN_AFTER = 6.0
# What an end may take: what waits to be sent, then the goodbye.
_FLUSH_LIMIT = 2.0
_GOODBYE_LIMIT = 1.0


class Host(Protocol):
    """What a link asks of its hub."""

    id: str

    def deliver_frame(self, group: str, frame: Frame) -> None:
        """Give a frame to local members."""

    def deliver_foreign(self, message: Foreign) -> None:
        """Give an event of other Channels code to local members."""

    def report_loss(self, loss: Loss) -> None:
        """Tell the application of lost messages."""

    async def answer(self, action: str, arguments: list[Any]) -> Any:
        """Answer a question of another hub."""

    async def stop(self) -> None:
        """End the connections, then stop the link."""


class Node:
    """One hub's, or one background hub's, place in a channel layer.

    Args:
        host: the hub.
        alias: the layer in ``CHANNEL_LAYERS``.
        is_serving: whether the hub will have connections; one that only sends and asks hears no rooms.
    """

    def __init__(self, host: Host, alias: str, *, is_serving: bool) -> None:
        self._host = host
        self._alias = alias
        self._hears_rooms = is_serving
        self._hub_group = f"{HUB_PREFIX}{host.id}"
        self._ask_group = f"{ASK_PREFIX}{host.id}"
        self._transport = Transport(alias)
        self._gaps = GapTracker()
        self._directory = Directory()
        self._liveness = Liveness(hears_rooms=is_serving)
        self._queries = Queries(host.id, self._send_query, self._ask_group, self._directory.is_gone)
        self._heartbeat = Heartbeat(host.id, self._hub_group, self._transport, self._directory, self._liveness)
        self._publisher = Publisher(host.id, self._transport.send, partial(self._transport.send, CONTROL_GROUP))
        self._receiver = Receiver(
            self._transport,
            (self._ask_group, CONTROL_GROUP),
            self._hub_group if is_serving else None,
            self._take_control,
            self._take_traffic,
            self._joined,
        )
        self._tasks: set[asyncio.Task[Any]] = set()
        self._eviction = Eviction(
            self._transport, lambda: self._receiver.traffic_groups, self._directory.is_gone, self._run
        )
        self._healing = Healing(
            self._receiver, self._liveness, self._announce, self._publisher.send_numbers_again, self._run
        )
        self._keeper: asyncio.Task[None] | None = None
        self._entering: asyncio.Task[None] | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._ticked_at = self._next_beat = self._next_round = 0.0

    # What the hub calls

    @property
    def others(self) -> frozenset[str]:
        """The ids of the other hubs that live and have connections."""
        return self._directory.serving

    @property
    def knows_others(self) -> bool:
        """Whether it has heard for so long, without a pause, that who is unknown does not live."""
        return self._liveness.hears_for(asyncio.get_running_loop().time()) > _NOBODY_IS_UNKNOWN_AFTER

    async def start(self) -> None:
        """Take the place of a hub with connections; waits until the others know of it, 1 s at most."""
        if not self._heartbeat.has_connections:
            self._heartbeat.has_connections = True
            self._entering = None
        await self._enter()

    def stop_serving(self) -> None:
        """Have no connections any more, so that nobody needs to ask; all else stays as it is."""
        self._heartbeat.has_connections = False
        if self._keeper is not None:
            self._run(self._heartbeat.announce())

    async def stop(self) -> None:
        """Leave the place, within a bounded time: tell the last numbers, say goodbye, close all. It may start again."""
        if self._stopping is None:
            is_known = self._entering is not None and not self._healing.is_needed
            keeper, self._keeper = self._keeper, None
            if keeper is not None:
                keeper.cancel()
            for task in tuple(self._tasks):
                task.cancel()
            self._eviction.stop()
            self._healing.stop()
            self._entering = None
            self._heartbeat.has_connections = False
            self._stopping = asyncio.get_running_loop().create_task(self._stop(is_known=is_known))
        await asyncio.shield(self._stopping)

    def join(self, group: str) -> Coroutine[Any, Any, None]:
        """Hear a group. See Subscriptions.join()."""
        return self._receiver.join(group)

    async def leave(self, group: str) -> None:
        """Hear a group no more."""
        self._gaps.leave(group)
        self._receiver.leave(group)

    def publish(self, groups: Sequence[str], frame: Frame, *, beside: Sequence[str] = ()) -> list[Confirmation]:
        """Send a frame to groups. See Publisher.publish()."""
        return self._publisher.publish(groups, frame, beside=beside)

    def publish_to_hub(self, hub: str, frame: Frame) -> list[Confirmation]:
        """Send a frame to one hub. See Publisher.publish()."""
        return self._publisher.publish([f"{HUB_PREFIX}{hub}"], frame)

    async def ask(self, hub: str | None, action: str, arguments: list[Any], timeout: float) -> dict[str, Any]:
        """Ask one other hub, or all others, and return their answers by hub id. See Queries.ask().

        A hub that is not known any more, nor names itself, has no answer.
        """
        await self._enter()
        known = self._directory.serving
        # Not known: gone, or so new that only others have heard of it, or this one has heard of nobody yet.
        target = hub if hub in known else None
        return await self._queries.ask(
            target, known, action, arguments, timeout, knows_all=self._knows_all, expects_one=hub is not None
        )

    # Beginning

    async def _enter(self) -> None:
        if self._entering is None:
            # In a context of its own: what begins here outlives the connection that asks for it.
            self._entering = asyncio.get_running_loop().create_task(self._begin(), context=contextvars.Context())
        # Shielded: who asks for it may be gone before it is done, and others wait for it, too.
        await asyncio.shield(self._entering)

    async def _begin(self) -> None:
        if self._stopping is not None:
            await asyncio.shield(self._stopping)
        if self._keeper is None:
            self._restart_deadlines()
            self._keeper = asyncio.get_running_loop().create_task(self._keep_alive())
        elif self._healing.is_needed:
            return  # healing says it as soon as it can
        # Wanted at once: where the layer does not answer now, healing joins them.
        self._receiver.want_own_groups()
        try:
            async with asyncio.timeout(_READY_LIMIT):
                await self._receiver.begin()
                await self._heartbeat.announce(is_new=True, wait=True)
        except Exception as error:
            logger.warning(
                "The channel layer %r did not answer within %g s; this process goes on alone, and joins the others as "
                "soon as it does. (%r)",
                self._alias,
                _READY_LIMIT,
                error,
            )

    # Taking messages

    def _take_traffic(self, message: Message) -> None:
        now = asyncio.get_running_loop().time()
        # Whatever comes is a sign that the channel is heard: behind a flood an echo takes its time.
        self._liveness.record_traffic(now)
        match message:
            case RoomMessage():
                if self._publisher.owns(message.stream):
                    return  # our own: local members have had it
                frames = [Frame.from_plain(frame) for frame in message.frames]
                if self._gaps.receive(message, now):
                    for frame in frames:
                        self._host.deliver_frame(message.group, frame)
            case Foreign():
                self._host.deliver_foreign(message)
            case Echo() if message.hub == self._host.id:
                self._liveness.record_echo(message.number)
            case _:
                raise Malformed(f"a message of type {message.type!r} does not belong on a room's group")

    def _take_control(self, message: Message) -> None:
        now = asyncio.get_running_loop().time()
        if isinstance(message, Beat | Numbers):  # others may come though the control group has forgotten this hub
            self._liveness.record_control(now)
        match message:
            case Beat() if message.hub == self._host.id:
                self._heartbeat.receive(message)
            case Beat():
                self._receive_beat(message, now)
            case Evicted():
                if message.hub == self._host.id:
                    self._receiver.join_again()
            case Numbers():
                for stream in message.streams:
                    self._receive_last(stream, now)
            case Query() if message.answer_to == self._ask_group:
                self._queries.receive_own(message.id, self._directory.serving)
            case Query():
                if self._hears_rooms:
                    self._run(self._reply(message))
            case Heard():
                self._queries.receive_sign(message)
            case Reply():
                self._queries.receive(message)
            case _:
                raise Malformed(f"a message of type {message.type!r} does not belong on a control group")

    def _receive_beat(self, beat: Beat, now: float) -> None:
        was_evicted = self._directory.record(beat, now)
        if was_evicted:
            self._run(self._eviction.notify(beat.hub))
        if beat.is_last:
            self._queries.forget(beat.hub)
        if beat.is_new and self._hears_rooms:
            self._run(self._heartbeat.announce())

    def _receive_last(self, stream: object, now: float) -> None:
        match stream:
            case [str(group), str(name), (int() | float()) as born, int(last), int(frames)] if 1 <= last <= frames:
                if not self._publisher.owns(name):
                    self._gaps.receive_last(group, name, born, last, frames, now)
            case _:
                raise Malformed(f"a stream's last number must be a list of five that fit, got {stream!r:.80}")

    async def _reply(self, query: Query) -> None:
        known = sorted(self._directory.serving | {self._host.id})
        if query.wants_sign:
            self._run(self._transport.send_control(query.answer_to, pack(Heard(query.id, self._host.id, known))))
        try:
            result = await self._host.answer(query.action, query.arguments)
            reply = Reply(query.id, self._host.id, known, result)
        except (Malformed, EtpError) as error:
            complain(error)
            reply = Reply(query.id, self._host.id, known, error=str(error))
        except Exception as error:
            logger.exception("A question of another process could not be answered: %.80r", query.action)
            reply = Reply(query.id, self._host.id, known, error=f"{type(error).__name__}: {error}")
        await self._transport.send_control(query.answer_to, pack(reply))

    # Keeping alive

    async def _keep_alive(self) -> None:
        loop = asyncio.get_running_loop()
        self._ticked_at = self._next_round = loop.time()
        self._next_beat = loop.time() + self._heartbeat.interval
        try:
            while True:
                await asyncio.sleep(_TICK)
                try:
                    self._tick(loop.time())
                except Exception:
                    logger.exception("What keeps this process among the others failed, and goes on.")
        except asyncio.CancelledError:
            if self._keeper is not None:
                # Not by stop(): the loop ends, and waits for its tasks.
                self._keeper = None
                await self._host.stop()
            raise

    def _tick(self, now: float) -> None:
        if now - self._ticked_at > _PAUSED:
            self._restart_deadlines()
            self._receiver.join_again()
        self._ticked_at = now
        if self._gaps.has_gaps:
            self._look_for_losses(now)
        self._healing.look(now, self._heartbeat.interval)
        if self._healing.is_needed:
            self._directory.restart(now)
        if now >= self._next_beat:
            self._next_beat = now + self._heartbeat.interval
            self._receiver.join_control_again()
            self._evict_expired(now)
            self._announce()
        if now >= self._next_round:
            self._next_round = now + self._round
            self._gaps.forget_old(now)
            self._receiver.join_again()

    def _restart_deadlines(self) -> None:
        now = asyncio.get_running_loop().time()
        self._healing.restart(now)
        self._liveness.record_deafness()
        self._liveness.restart(now)
        self._directory.restart(now)

    def _announce(self) -> None:
        if not self._heartbeat.is_speaking:  # else the layer is slow, and has enough to do
            self._run(self._heartbeat.announce())
        if self._hears_rooms:
            self._run(self._heartbeat.send_echo())

    def _look_for_losses(self, now: float) -> None:
        for loss in self._gaps.losses(now, self._liveness.echoed_at):
            self._receiver.join_group_again(loss.group)
            self._host.report_loss(loss)
        if self._gaps.has_gaps and now - self._liveness.last_echo_at() >= 2 * _TICK:
            self._run(self._heartbeat.send_echo())

    def _evict_expired(self, now: float) -> None:
        for beat in self._directory.expire(now):
            logger.log(
                logging.WARNING if beat.is_serving else logging.INFO,
                "Hub %s was not heard of for too long: its process is taken for dead.",
                beat.hub,
            )
            self._queries.forget(beat.hub)
            self._eviction.evict(beat)

    # The end

    async def _stop(self, *, is_known: bool) -> None:
        try:
            await _bounded(self._publisher.stop(), _FLUSH_LIMIT)
            if is_known:
                await _bounded(self._heartbeat.announce_end(), _GOODBYE_LIMIT)
                self._gaps.leave(self._hub_group)
                await self._receiver.leave_own_groups()
            await self._transport.close()
        finally:
            self._receiver.stop()
            self._stopping = None

    # Looking

    @property
    def _knows_all(self) -> bool:
        return self._liveness.hears_for(asyncio.get_running_loop().time()) > _KNOWS_ALL_AFTER

    @property
    def _round(self) -> float:
        expiry = self._transport.group_expiry
        slowest = _SLOWEST_ROUND_WHERE_SPREAD if self._transport.is_spread else _SLOWEST_ROUND
        return slowest if expiry is None else min(expiry / 4, slowest)

    # What the parts call

    async def _send_query(self, hub: str | None, query: Query) -> None:
        await self._transport.send_control(CONTROL_GROUP if hub is None else f"{ASK_PREFIX}{hub}", pack(query))

    def _joined(self, group: str) -> None:
        self._gaps.join(group, time.time())

    def _run(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            logger.debug("A call to the channel layer failed, which healing will notice: %r", error)


async def _bounded(coroutine: Coroutine[Any, Any, None], seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await coroutine
    except Exception as error:
        logger.debug("The end of this process's place among the others was cut short: %r", error)
