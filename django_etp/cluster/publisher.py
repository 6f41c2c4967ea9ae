"""What leaves a process: frames for groups of the channel layer, in order, few round trips for many frames.

Rules kept here:

- Per group one send is under way at a time; what comes meanwhile gathers and goes as one message. So the order of one
  sender stays, and a burst costs few round trips and little of the layer's capacity. An event to several groups waits
  for what is before it in each of them.
- What ``publish`` returns is settled when the layer took the frame, or with ``LayerUnavailable`` where it did not
  confirm. To publish takes no turn of the loop, so that a thread that sends needs one for it and none more.
- A send has 3 s, and one retry under the same number: receivers drop duplicates. Few are under way at once, whatever
  the number of groups: a broker's client has its limits, too. What waits behind others is given up after 7 s in all.
- What waits is bounded.
- The last number of a stream that went quiet is told again and again for a while, so that receivers notice what they
  missed at its end. Of a stream that never goes quiet it is told every 2 s: a receiver may have missed all of it.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from django_etp.concurrency.bridge import loop_ended
from django_etp.concurrency.confirmations import Confirmation
from django_etp.concurrency.tasks import end_tasks
from django_etp.exceptions import LayerUnavailable, describe

from .lanes import PUBLISH_LIMIT, TELL_AFTER, Batch, Fence, Joint, Lane
from .messages import Frame, Numbers, RoomMessage, pack

__all__ = ["Publisher"]

logger = logging.getLogger(__name__)

_MAX_WAITING_FRAMES = 10_000
_MAX_WAITING_BYTES = 16 * 1024 * 1024
_TELL_LIMIT = 1.0
_SENDS_AT_ONCE = 32
_SEND_LIMIT = 3.0
_RETRY_AFTER = 0.2
_TELL_EVERY = 0.1
_TELL_AT_ONCE = 500
# A stream that was quiet this long is forgotten; the next message to its group begins a new one.
_FORGET_AFTER = 600.0
_FORGET_EVERY = 60.0

_Send = Callable[[str, dict[str, Any]], Coroutine[Any, Any, None]]


class Publisher:
    """Sends frames to groups of one channel layer, on one event loop.

    Args:
        name: names its streams; another one for each publisher.
        send: sends a message to a group of the layer.
        tell: sends a message to all hubs.
    """

    def __init__(self, name: str, send: _Send, tell: Callable[[dict[str, Any]], Coroutine[Any, Any, None]]) -> None:
        self._name = f"{name}."
        self._streams = 0
        self._send = send
        self._tell = tell
        self._lanes: dict[str, Lane] = {}
        self._fences: dict[str, Joint] = {}
        self._untold: set[str] = set()
        self._waiting_frames = 0
        self._waiting_bytes = 0
        self._slots = asyncio.Semaphore(_SENDS_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._teller: asyncio.Task[None] | None = None
        self._forgetting: asyncio.TimerHandle | None = None

    def publish(self, groups: Sequence[str], frame: Frame, *, beside: Sequence[str] = ()) -> list[Confirmation]:
        """Send a frame to groups, where others' may be on the same way; what is returned tells what becomes of it.

        It overtakes nothing that waits for one of these groups, or for one of those ``beside``, to whose members it
        goes as well.

        Raises:
            LayerUnavailable: too much waits already.
        """
        plain, size, text_size = frame.to_plain(), frame.size, len(frame.text)
        self._check_room(len(groups), len(groups) * text_size)
        if len(groups) == 1 and not beside:
            return [self._put(groups[0], plain, text_size, size).confirmation]
        joint = Joint(len(groups))
        for group in beside:
            self._fence(group, joint)
        return [self._put(group, plain, text_size, size, joint).confirmation for group in groups]

    def owns(self, stream: str) -> bool:
        """Return whether a stream is, or was, this publisher's."""
        return stream.startswith(self._name)

    async def stop(self) -> None:
        """Tell the last numbers, once what waits has gone, within a bounded time."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_SEND_LIMIT)
        if self._teller is not None:
            teller, self._teller = self._teller, None
            await end_tasks([teller], _TELL_LIMIT)
        if self._forgetting is not None:
            self._forgetting.cancel()
            self._forgetting = None
        for lane in self._lanes.values():
            lane.last = lane.number, lane.frames  # what is under way still is lost if it does not arrive
        if untold := sorted(group for group, lane in self._lanes.items() if group in self._untold or lane.is_sending):
            await self._send_numbers(untold)

    def send_numbers_again(self) -> None:
        """Begin anew to tell the last numbers: the broker may have lost what was told."""
        now = asyncio.get_running_loop().time()
        for group, lane in self._lanes.items():
            if lane.number and now - lane.sent_at < 120:
                lane.sent_at, lane.tells = now, 0
                self._untold.add(group)
        self._start_teller()

    def _check_room(self, frames: int, size: int) -> None:
        is_full = self._waiting_bytes > 0 and self._waiting_bytes + size > _MAX_WAITING_BYTES
        if is_full or self._waiting_frames + frames > _MAX_WAITING_FRAMES:
            raise LayerUnavailable(
                f"{self._waiting_frames:,} events wait for the channel layer already, and no more may: it is down, or "
                "slower than what this process sends."
            )

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
                # It never leaves this process, and takes no number: nobody will miss it.
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
            if batch.joint is not None and batch.joint.note_sent():
                self._fences = {group: joint for group, joint in self._fences.items() if joint is not batch.joint}
            lane.note_sent(asyncio.get_running_loop().time())
            if lane.number:
                self._untold.add(group)
        self._start_teller()

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
                "the event; whether others have is not known."
            ) from error

    # Telling last numbers

    def _start_teller(self) -> None:
        if self._teller is None or self._teller.done():
            self._teller = asyncio.get_running_loop().create_task(self._send_numbers_while_needed())

    async def _send_numbers_while_needed(self) -> None:
        while self._untold:
            await asyncio.sleep(_TELL_EVERY)
            now = asyncio.get_running_loop().time()
            due = [group for group in self._untold if self._lanes[group].is_due(now)]
            for start in range(0, len(due), _TELL_AT_ONCE):
                await self._send_numbers(due[start : start + _TELL_AT_ONCE])

    async def _send_numbers(self, groups: list[str]) -> None:
        lanes = [(group, lane, lane.last) for group in groups for lane in [self._lanes[group]]]
        streams = [[group, lane.stream, lane.born, *last] for group, lane, last in lanes]
        try:
            async with asyncio.timeout(_SEND_LIMIT):
                await self._tell(pack(Numbers(streams)))
        except Exception as error:  # told again with the next turn
            logger.debug("The last numbers could not be told: %r", error)
            for _, lane, _ in lanes:
                # Not confirmed: whoever heard nothing must hear it often enough once the layer is back.
                lane.sent_at, lane.tells = asyncio.get_running_loop().time(), 0
                lane.untold_since = lane.sent_at
            return
        for group, lane, last in lanes:
            lane.told, lane.untold_since = last[0], asyncio.get_running_loop().time()
            if last == lane.last and not lane.is_sending:
                lane.tells += 1
                if lane.tells == len(TELL_AFTER):
                    self._untold.discard(group)

    # Forgetting

    def _forget_later(self) -> None:
        if self._forgetting is None and self._lanes:
            self._forgetting = asyncio.get_running_loop().call_later(_FORGET_EVERY, self._forget_old)

    def _forget_old(self) -> None:
        now = asyncio.get_running_loop().time()
        for group, lane in tuple(self._lanes.items()):
            if not lane.is_sending and group not in self._untold and now - lane.sent_at > _FORGET_AFTER:
                del self._lanes[group]
        self._forgetting = None
        self._forget_later()
