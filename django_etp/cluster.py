"""A hub's place in a channel layer that spans processes: hearing, sending, asking, and healing.

Four kinds of messages pass, each with its own part: room traffic (publisher, gaps), joins and leaves (subscriptions),
signs of life (peers), questions and answers (questions). This module wires them to one another and to the clock.

Rules kept here:

- Room traffic and control have a layer object each, so that an overflow of one does not starve the other; sends have
  a third, so that they do not wait behind joins.
- A hub sends itself an echo and hears its own heartbeat. Where one does not come back, the broker may have forgotten
  its groups, and all are joined again; where that does not help either, it begins anew with fresh layer objects.
- After a pause of its own loop a hub restarts its deadlines before it judges others.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Protocol

from channels.layers import channel_layers

from .envelope import (
    ASK_PREFIX,
    Answer,
    Beat,
    Echo,
    Foreign,
    Frame,
    Malformed,
    Message,
    Numbers,
    Question,
    RoomMessage,
    pack,
)
from .exceptions import EtpError, LayerUnavailable
from .gaps import GapTracker, Loss
from .inbox import complain, read_channel
from .peers import Peers, beat_interval
from .publisher import Publisher
from .questions import Questions
from .subscriptions import Subscriptions

__all__ = ["ClusterLink", "Host"]

logger = logging.getLogger(__name__)

_CONTROL_GROUP = "etp.control"
_TICK = 0.25
# A tick that comes this much late means that the whole process stood still.
_PAUSED = 1.5
_READY_LIMIT = 1.0
# How long nothing may come back before all is made anew.
_BEGIN_ANEW_AFTER = 15.0
_SLOWEST_ROUND = 600.0
_STOP_LIMIT = 1.0


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


class ClusterLink:
    """One hub's, or one lone publisher's, place in a channel layer.

    Args:
        host: the hub.
        alias: the layer in ``CHANNEL_LAYERS``.
        is_serving: whether the hub has connections; one that only sends and asks says no signs of life.
    """

    def __init__(self, host: Host, alias: str, *, is_serving: bool) -> None:
        self._host = host
        self._alias = alias
        self._is_serving = is_serving
        self._hub_group = f"etp.hub.{host.id}"
        self._ask_group = f"{ASK_PREFIX}{host.id}"
        self._make_layers()
        self._gaps = GapTracker()
        self._peers = Peers()
        self._questions = Questions(host.id, self._send_question, self._ask_group)
        self._publisher = Publisher(host.id, self._send_out, self._tell_hubs)
        self._traffic = Subscriptions(self._add_traffic, self._discard_traffic, self._joined)
        self._control = Subscriptions(self._add_control, self._discard_control, lambda group: None)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._readers: list[asyncio.Task[None]] = []
        self._started: asyncio.Future[None] | None = None
        self._heard_own_beat = asyncio.Event()
        self._echo = 0
        self._echo_sent_at: dict[int, float] = {}
        self._echoed_at = 0.0
        self._traffic_heard_at = 0.0
        self._control_heard_at = 0.0

    # What the hub calls

    async def start(self) -> None:
        """Take the place: hear the control groups, say hello; waits until the own hello came back, 1 s at most."""
        if self._started is None:
            self._started = asyncio.get_running_loop().create_future()
            try:
                await self._begin()
            finally:
                self._started.set_result(None)
        else:
            await asyncio.shield(self._started)

    async def stop(self) -> None:
        """Leave the place: tell the last numbers, say goodbye, stop hearing."""
        await self._publisher.stop()
        try:
            async with asyncio.timeout(_STOP_LIMIT):
                if self._started is not None:
                    await self._tell_hubs(pack(self._beat(is_last=True)))
                for group in self._control.wanted:
                    await self._discard_control(group)
                for group in self._traffic.wanted:
                    await self._discard_traffic(group)
        except Exception as error:
            logger.debug("The goodbye to the other hubs failed: %r", error)
        self._traffic.stop()
        self._control.stop()
        for task in (*self._tasks, *self._readers):
            task.cancel()

    async def join(self, group: str) -> None:
        """Hear a group."""
        await self._traffic.join(group)

    async def leave(self, group: str) -> None:
        """Hear a group no more."""
        self._gaps.leave(group)
        self._traffic.leave(group)

    async def publish(self, groups: Iterable[str], frame: Frame) -> None:
        """Send a frame to groups. See Publisher.publish()."""
        await self._publisher.publish(groups, frame)

    async def publish_to_hub(self, hub: str, frame: Frame) -> None:
        """Send a frame to one hub. See Publisher.publish()."""
        await self._publisher.publish([f"etp.hub.{hub}"], frame)

    async def ask(self, hub: str | None, action: str, arguments: list[Any], timeout: float) -> dict[str, Any]:
        """Ask one other hub, or all others, and return their answers by hub id. See Questions.ask().

        A hub that is not known any more, nor names itself, has no answer.
        """
        await self.start()
        known = self._peers.ids
        if hub is not None and hub not in known:
            # Gone, or so new that only others have heard of it.
            hub = None
        if hub is None and not known and self._is_serving:
            return {}
        return await self._questions.ask(hub, known, action, arguments, timeout)

    # Beginning

    def _make_layers(self) -> None:
        self._out, self._traffic_layer, self._control_layer = (channel_layers.make_backend(self._alias) for _ in "123")
        self._traffic_channel = self._control_channel = ""

    async def _begin(self) -> None:
        self._restart_deadlines()
        try:
            async with asyncio.timeout(_READY_LIMIT):
                await self._open()
                await self._control.join(self._ask_group)
                await self._control.join(_CONTROL_GROUP)
                if self._is_serving:
                    await self._traffic.join(self._hub_group)
                await self._say_alive(is_new=True)
                await self._heard_own_beat.wait()
        except Exception as error:
            logger.warning(
                "The channel layer %r did not answer within %g s; this process goes on alone, and joins the others as "
                "soon as it does. (%r)",
                self._alias,
                _READY_LIMIT,
                error,
            )
        self._run(self._keep_alive())

    async def _open(self) -> None:
        if not self._control_channel:
            self._control_channel = await self._control_layer.new_channel("etp")
            self._read(self._control_layer, self._control_channel, self._take_control, self._control)
        if not self._traffic_channel and self._is_serving:
            self._traffic_channel = await self._traffic_layer.new_channel("etp")
            self._read(self._traffic_layer, self._traffic_channel, self._take_traffic, self._traffic)

    def _read(self, layer: Any, channel: str, take: Callable[[Message], None], groups: Subscriptions) -> None:
        reading = read_channel(layer, channel, take, groups.join_again)
        self._readers.append(asyncio.get_running_loop().create_task(reading))

    # Taking messages

    def _take_traffic(self, message: Message) -> None:
        now = asyncio.get_running_loop().time()
        # Whatever comes is a sign that the channel is heard: behind a flood an echo takes its time.
        self._traffic_heard_at = now
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
                self._echoed_at = self._echo_sent_at.pop(message.number, self._echoed_at)
            case _:
                raise Malformed(f"a message of type {message.type!r} does not belong on a room's group")

    def _take_control(self, message: Message) -> None:
        now = asyncio.get_running_loop().time()
        if isinstance(message, Beat | Numbers):  # others may come though the control group has forgotten this hub
            self._control_heard_at = now
        match message:
            case Beat() if message.hub == self._host.id:
                self._heard_own_beat.set()
            case Beat():
                if message.channel:
                    self._peers.hear(message, now)
                if message.is_last:
                    self._questions.forget(message.hub)
                if message.is_new and self._is_serving:
                    self._run(self._say_alive())
            case Numbers():
                for stream in message.streams:
                    self._hear_last(stream, now)
            case Question():
                if self._is_serving and message.answer_to != self._ask_group:
                    self._run(self._give_answer(message))
            case Answer():
                self._questions.hear(message)
            case _:
                raise Malformed(f"a message of type {message.type!r} does not belong on a control group")

    def _hear_last(self, stream: object, now: float) -> None:
        match stream:
            case [str(group), str(name), (int() | float()) as born, int(last), int(frames)] if 1 <= last <= frames:
                if not self._publisher.owns(name):
                    self._gaps.hear_last(group, name, born, last, frames, now)
            case _:
                raise Malformed(f"a stream's last number must be a list of five that fit, got {stream!r:.80}")

    async def _give_answer(self, question: Question) -> None:
        known = sorted(self._peers.ids | {self._host.id})
        try:
            result = await self._host.answer(question.action, question.arguments)
            answer = Answer(question.id, self._host.id, known, result)
        except (Malformed, EtpError) as error:
            complain(error)
            answer = Answer(question.id, self._host.id, known, error=str(error))
        except Exception as error:
            logger.exception("A question of another process could not be answered: %.80r", question.action)
            answer = Answer(question.id, self._host.id, known, error=f"{type(error).__name__}: {error}")
        await self._control_layer.group_send(question.answer_to, pack(answer))

    # Keeping alive

    async def _keep_alive(self) -> None:
        loop = asyncio.get_running_loop()
        ticked_at = next_beat = next_round = loop.time()
        while True:
            await asyncio.sleep(_TICK)
            now = loop.time()
            if now - ticked_at > _PAUSED:
                self._restart_deadlines()
                self._join_all_again()
            ticked_at = now
            if self._gaps.has_gaps:
                self._look_for_losses(now)
            if now >= next_beat:
                next_beat = now + self._interval
                self._bury_the_dead(now)
                self._heal(now)
                self._run(self._say_alive())
                if self._is_serving:
                    self._run(self._send_echo())
            if now >= next_round:
                next_round = now + self._round
                self._gaps.forget_old(now)
                self._join_all_again()

    def _restart_deadlines(self) -> None:
        now = asyncio.get_running_loop().time()
        self._peers.restart(now)
        self._traffic_heard_at = self._control_heard_at = now

    def _bury_the_dead(self, now: float) -> None:
        for id, channels in self._peers.expire(now):
            logger.warning("Hub %s was not heard of for too long: its process is taken for dead.", id)
            self._questions.forget(id)
            self._run(self._clean_up_after(channels))

    def _heal(self, now: float) -> None:
        heard_at = min(self._traffic_heard_at, self._control_heard_at) if self._is_serving else self._control_heard_at
        silent_for = now - heard_at
        if silent_for > _BEGIN_ANEW_AFTER:
            logger.warning("The channel layer brought nothing back for %.0f s: beginning anew with it.", silent_for)
            self._restart_deadlines()
            self._run(self._begin_anew())
        elif silent_for > self._interval + 2 * _TICK:
            self._run(self._open())
            self._join_all_again()
            self._publisher.tell_again()

    def _look_for_losses(self, now: float) -> None:
        for loss in self._gaps.losses(now, self._echoed_at):
            self._host.report_loss(loss)
        if self._gaps.has_gaps and now - max(self._echo_sent_at.values(), default=0.0) >= 2 * _TICK:
            self._run(self._send_echo())

    async def _say_alive(self, *, is_new: bool = False) -> None:
        # Whoever hears of nobody may have begun while the broker was away.
        await self._tell_hubs(pack(self._beat(is_new=is_new or not len(self._peers))))

    async def _send_echo(self) -> None:
        self._echo += 1
        self._echo_sent_at[self._echo] = asyncio.get_running_loop().time()
        for old in [number for number in self._echo_sent_at if number < self._echo - 100]:
            del self._echo_sent_at[old]
        await self._send_out(self._hub_group, pack(Echo(self._host.id, self._echo)))

    async def _clean_up_after(self, channels: tuple[str, str]) -> None:
        traffic, control = channels
        await self._control_layer.group_discard(_CONTROL_GROUP, control)
        for group in self._traffic.wanted:
            await self._traffic_layer.group_discard(group, traffic)

    async def _begin_anew(self) -> None:
        readers, self._readers = self._readers, []
        for reader in readers:
            reader.cancel()
        old = self._out, self._traffic_layer, self._control_layer
        self._make_layers()
        await self._open()
        self._join_all_again()
        for layer in old:
            if close := getattr(layer, "close_pools", None):
                await close()

    def _join_all_again(self) -> None:
        self._control.join_again()
        self._traffic.join_again()

    @property
    def _interval(self) -> float:
        return beat_interval(len(self._peers) + 1)

    @property
    def _round(self) -> float:
        expiry = getattr(self._out, "group_expiry", None)
        return min(expiry / 4, _SLOWEST_ROUND) if isinstance(expiry, int | float) else _SLOWEST_ROUND

    def _beat(self, *, is_new: bool = False, is_last: bool = False) -> Beat:
        return Beat(self._host.id, self._interval, self._traffic_channel, self._control_channel, is_new, is_last)

    # The layer

    async def _send_out(self, group: str, message: dict[str, Any]) -> None:
        await self._out.group_send(group, message)

    async def _tell_hubs(self, message: dict[str, Any]) -> None:
        await self._control_layer.group_send(_CONTROL_GROUP, message)

    async def _send_question(self, hub: str | None, question: Question) -> None:
        group = _CONTROL_GROUP if hub is None else f"{ASK_PREFIX}{hub}"
        try:
            await self._control_layer.group_send(group, pack(question))
        except Exception as error:
            raise LayerUnavailable(f"A question could not be sent: {type(error).__name__}: {error}.") from error

    async def _add_traffic(self, group: str) -> None:
        self._refuse_unopened(self._traffic_channel)
        await self._traffic_layer.group_add(group, self._traffic_channel)

    async def _discard_traffic(self, group: str) -> None:
        await self._traffic_layer.group_discard(group, self._traffic_channel)

    async def _add_control(self, group: str) -> None:
        self._refuse_unopened(self._control_channel)
        await self._control_layer.group_add(group, self._control_channel)

    async def _discard_control(self, group: str) -> None:
        await self._control_layer.group_discard(group, self._control_channel)

    def _refuse_unopened(self, channel: str) -> None:
        if not channel:
            raise LayerUnavailable(f"The channel layer {self._alias!r} could not be opened yet.")

    def _joined(self, group: str) -> None:
        self._gaps.join(group, time.time())

    def _run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            logger.debug("A call to the channel layer failed, which healing will notice: %r", error)
