"""Send frames to channel-layer groups: in order, and many frames in few round trips.

Rules kept here:

- Per group one send is under way at a time; frames that come meanwhile gather and go as one message. So the order of
  one sender stays, and a burst costs few round trips and little of the layer's capacity. An event to several groups
  waits for the frames before it in each of them.
- The confirmations that ``publish`` returns are settled when the layer took the frame, or with ``LayerUnavailable`` if
  it did not confirm. To publish takes no turn of the loop, so that a thread that sends needs one for it and none more.
- A send has 3 s, and one retry under the same number: receivers drop duplicates. Few are under way at once, however
  many groups there are: a broker's client has its limits, too. A frame behind others is given up after 7 s in all.
- The frames that wait are bounded.
- The last number of a stream that went quiet is announced several times, so that receivers notice messages that they
  missed at its end. That of a stream that never goes quiet is announced every 2 s: a receiver may have missed all of
  it.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from django_etp.concurrency.bridge import loop_ended
from django_etp.concurrency.confirmations import Confirmation
from django_etp.concurrency.tasks import end_tasks
from django_etp.exceptions import LayerUnavailable, describe

from .lanes import ANNOUNCE_AFTER, PUBLISH_LIMIT, Batch, Fence, Joint, Lane
from .messages import Frame, Numbers, RoomMessage, pack

__all__ = ["Publisher"]

logger = logging.getLogger(__name__)

_MAX_WAITING_FRAMES = 10_000
_MAX_WAITING_BYTES = 16 * 1024 * 1024
_END_ANNOUNCER_LIMIT = 1.0
_SENDS_AT_ONCE = 32
_SEND_LIMIT = 3.0
_RETRY_AFTER = 0.2
_ANNOUNCE_EVERY = 0.1
_ANNOUNCE_AT_ONCE = 500
# A stream that was quiet this long is forgotten; the next message to its group begins a new one.
_FORGET_AFTER = 600.0
_FORGET_EVERY = 60.0

_Send = Callable[[str, dict[str, Any]], Coroutine[Any, Any, None]]
_SendToAll = Callable[[dict[str, Any]], Coroutine[Any, Any, None]]


class Publisher:
    """Sends frames to groups of one channel layer, on one event loop.

    Args:
        name: names its streams; another one for each publisher.
        send: sends a message to a group of the layer.
        send_to_all: sends a message to all nodes.
    """

    def __init__(self, name: str, send: _Send, send_to_all: _SendToAll) -> None:
        self._name = f"{name}."
        self._streams = 0
        self._send = send
        self._send_to_all = send_to_all
        self._lanes: dict[str, Lane] = {}
        self._fences: dict[str, Joint] = {}
        self._unannounced: set[str] = set()
        self._waiting_frames = 0
        self._waiting_bytes = 0
        self._slots = asyncio.Semaphore(_SENDS_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._announcer: asyncio.Task[None] | None = None
        self._forgetting: asyncio.TimerHandle | None = None

    def publish(self, groups: Sequence[str], frame: Frame, *, beside: Sequence[str] = ()) -> list[Confirmation]:
        """Send a frame to groups, and return a confirmation for each; does not wait.

        The frame overtakes no other that waits for one of these groups, or for one of those ``beside``, to whose
        members it goes as well.

        Raises:
            LayerUnavailable: too many frames wait already.
        """
        plain, size, text_size = frame.to_plain(), frame.size, len(frame.text)
        is_full = self._waiting_bytes > 0 and self._waiting_bytes + len(groups) * text_size > _MAX_WAITING_BYTES
        if is_full or self._waiting_frames + len(groups) > _MAX_WAITING_FRAMES:
            raise LayerUnavailable(
                f"The publish queue is full ({self._waiting_frames:,} events): the channel layer is down, or slower "
                "than this process sends."
            )
        if len(groups) == 1 and not beside and not frame.begins_message:
            return [self._put(groups[0], plain, text_size, size).confirmation]
        joint = Joint(len(groups))
        for group in beside:
            self._fence(group, joint)
        return [self._put(group, plain, text_size, size, joint).confirmation for group in groups]

    def owns(self, stream: str) -> bool:
        """Return whether a stream is, or was, this publisher's."""
        return stream.startswith(self._name)

    async def stop(self) -> None:
        """Send the frames that wait, then announce the last numbers, within a bounded time."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_SEND_LIMIT)
        if self._announcer is not None:
            announcer, self._announcer = self._announcer, None
            await end_tasks([announcer], _END_ANNOUNCER_LIMIT)
        if self._forgetting is not None:
            self._forgetting.cancel()
            self._forgetting = None
        for lane in self._lanes.values():
            lane.last = lane.number, lane.frames  # a message still under way is lost if it does not arrive
        unannounced = self._unannounced | {group for group, lane in self._lanes.items() if lane.is_sending}
        if unannounced:
            await self._send_numbers(sorted(unannounced))

    def send_numbers_again(self) -> None:
        """Announce the last numbers from the beginning: the broker may have lost the announcements."""
        now = asyncio.get_running_loop().time()
        for group, lane in self._lanes.items():
            if lane.number and now - lane.sent_at < 120:
                lane.sent_at, lane.announcements = now, 0
                self._unannounced.add(group)
        self._start_announcer()

    def _fence(self, group: str, joint: Joint) -> None:
        lane = self._lanes.get(group)
        if lane is not None and lane.is_sending:
            joint.await_lane()
            lane.batches.append(Fence(joint, is_awaited=True))
        else:
            self._fences[group] = joint

    def _put(self, group: str, frame: str | list[Any], text_size: int, size: int, joint: Joint | None = None) -> Batch:
        lane = self._lanes.get(group)
        if lane is None:
            self._streams += 1
            lane = self._lanes[group] = Lane(f"{self._name}{self._streams}")
        if not lane.is_sending and (fence := self._fences.get(group)) is not None:
            lane.batches.append(Fence(fence, is_awaited=False))
        last = lane.batches[-1] if lane.batches else None
        if not isinstance(last, Batch) or joint is not None or not last.has_room(size):
            last = Batch(joint)
            lane.batches.append(last)
        batch = last
        batch.frames.append(frame)
        batch.bytes += text_size
        batch.size += size
        self._waiting_frames += 1
        self._waiting_bytes += text_size
        if not lane.is_sending:
            lane.is_sending = True
            task = asyncio.get_running_loop().create_task(self._empty(group, lane))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return batch

    async def _empty(self, group: str, lane: Lane) -> None:
        try:
            while lane.batches:
                waiting = lane.batches.popleft()
                await waiting.wait()
                if isinstance(waiting, Batch):
                    await self._send_batch(group, lane, waiting)
        except asyncio.CancelledError:  # the loop ends, and must not be given new tasks
            while lane.batches:
                if isinstance(left := lane.batches.popleft(), Batch):
                    self._let_go(left)
            raise
        finally:
            lane.is_sending = False
        self._forget_later()

    async def _send_batch(self, group: str, lane: Lane, batch: Batch) -> None:
        try:
            if asyncio.get_running_loop().time() >= batch.due_at:
                # It never leaves this process, and takes no number, so that no receiver misses it.
                raise LayerUnavailable(
                    f"An event waited {PUBLISH_LIMIT:g} s for those before it, and was not sent to other processes."
                )
            lane.number += 1
            message = pack(RoomMessage(group, lane.stream, lane.born, lane.number, lane.frames, batch.frames))
            lane.frames += len(batch.frames)
            await self._confirm(group, message, batch.due_at)
        except LayerUnavailable as error:
            batch.confirmation.settle(error)
        else:
            batch.confirmation.settle()
        finally:
            self._let_go(batch)
            if batch.joint is not None and batch.joint.record_sent():
                self._fences = {group: joint for group, joint in self._fences.items() if joint is not batch.joint}
            lane.record_sent(asyncio.get_running_loop().time())
            if lane.number:
                self._unannounced.add(group)
        self._start_announcer()

    def _let_go(self, batch: Batch) -> None:
        if not batch.confirmation.is_settled:
            batch.confirmation.settle(loop_ended())
        self._waiting_frames -= len(batch.frames)
        self._waiting_bytes -= batch.bytes

    async def _confirm(self, group: str, message: dict[str, Any], due_at: float) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(min(loop.time() + _SEND_LIMIT, due_at)), self._slots:
                return await self._send(group, message)
        except Exception as error:
            logger.info("A send to the channel layer failed and is tried again: %r", error)
        await asyncio.sleep(_RETRY_AFTER)
        try:
            async with asyncio.timeout_at(min(loop.time() + _SEND_LIMIT, due_at)), self._slots:
                await self._send(group, message)
        except Exception as error:
            raise LayerUnavailable(
                f"The channel layer did not confirm a send, twice: {describe(error)}. Members in this process have had "
                "the event; it is not known whether others have."
            ) from error

    # Announcing last numbers

    def _start_announcer(self) -> None:
        if self._announcer is None or self._announcer.done():
            self._announcer = asyncio.get_running_loop().create_task(self._send_numbers_while_needed())

    async def _send_numbers_while_needed(self) -> None:
        while self._unannounced:
            await asyncio.sleep(_ANNOUNCE_EVERY)
            now = asyncio.get_running_loop().time()
            due = [group for group in self._unannounced if self._lanes[group].is_due(now)]
            for start in range(0, len(due), _ANNOUNCE_AT_ONCE):
                await self._send_numbers(due[start : start + _ANNOUNCE_AT_ONCE])

    async def _send_numbers(self, groups: list[str]) -> None:
        lanes = [(group, lane, lane.last) for group in groups for lane in [self._lanes[group]]]
        streams = [[group, lane.stream, lane.born, *last] for group, lane, last in lanes]
        try:
            async with asyncio.timeout(_SEND_LIMIT):
                await self._send_to_all(pack(Numbers(streams)))
        except Exception as error:  # they are announced again with the next turn
            logger.debug("The last numbers could not be announced: %r", error)
            for _, lane, _ in lanes:
                # Not confirmed: receivers that missed it must get it often enough once the layer is back.
                lane.sent_at, lane.announcements = asyncio.get_running_loop().time(), 0
                lane.unannounced_since = lane.sent_at
            return
        for group, lane, last in lanes:
            lane.announced, lane.unannounced_since = last[0], asyncio.get_running_loop().time()
            if last == lane.last and not lane.is_sending:
                lane.announcements += 1
                if lane.announcements == len(ANNOUNCE_AFTER):
                    self._unannounced.discard(group)

    # Forgetting

    def _forget_later(self) -> None:
        if self._forgetting is None and self._lanes:
            self._forgetting = asyncio.get_running_loop().call_later(_FORGET_EVERY, self._forget_old)

    def _forget_old(self) -> None:
        now = asyncio.get_running_loop().time()
        for group, lane in tuple(self._lanes.items()):
            if not lane.is_sending and group not in self._unannounced and now - lane.sent_at > _FORGET_AFTER:
                del self._lanes[group]
        self._forgetting = None
        self._forget_later()
