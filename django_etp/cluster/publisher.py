"""Send frames to channel-layer groups: in order, and many frames in few round trips.

Rules kept here:

- Per group one send is under way at a time; frames that come meanwhile gather and go as one message. So the order of
  one sender stays, and a burst costs few round trips and little of the layer's capacity. An event to several groups
  waits for the frames before it in each of them.
- The confirmations that ``publish`` returns are settled when the layer took the frame, or with ``LayerUnavailable`` if
  it did not confirm. To publish takes no turn of the loop, so that a thread that sends needs one for it and none more.
- A send has 3 s, and one retry under the same number: receivers drop duplicates. Few are under way at once, however
  many groups there are: a broker's client has its limits, too. A frame behind others is given up after 7 s in all.
- The frames that wait are bounded, with the rooms and connections that they name.
- The last numbers of streams are announced (announcer). While the layer takes no announcements, and too many wait,
  nothing is sent.
- What is kept per group is bounded. Past 10,000 streams that are quiet and announced, and after 10 minutes of silence,
  the one that went quiet first ends, and only its last number is remembered; the next message to its group begins a new
  one, under another name.
"""

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Coroutine, Iterator, Sequence
from typing import Any

from django_etp.concurrency.bridge import loop_ended
from django_etp.concurrency.confirmations import Confirmation
from django_etp.exceptions import LayerUnavailable, describe

from .announcer import Announcer
from .lanes import PUBLISH_LIMIT, Batch, Fence, Joint, Lane
from .ledger import Ledger, Told
from .messages import Frame, RoomMessage, pack

__all__ = ["Publisher"]

logger = logging.getLogger(__name__)

_MAX_WAITING_FRAMES = 10_000
_MAX_WAITING_BYTES = 16 * 1024 * 1024
_SENDS_AT_ONCE = 32
_SEND_LIMIT = 3.0
_RETRY_AFTER = 0.2
_MOST_IDLE = 10_000
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
        self._lanes: dict[str, Lane] = {}
        self._ended = Ledger()
        self._fences: dict[str, Joint] = {}
        self._idle: OrderedDict[str, None] = OrderedDict()  # those first that went quiet first
        self._announcer = Announcer(self._lanes, send_to_all, self._retire)
        self._waiting_frames = 0
        self._waiting_bytes = 0
        self._slots = asyncio.Semaphore(_SENDS_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._forgetting: asyncio.TimerHandle | None = None

    def publish(self, groups: Sequence[str], frame: Frame, *, beside: Sequence[str] = ()) -> list[Confirmation]:
        """Send a frame to groups, and return a confirmation for each; does not wait.

        The frame overtakes no other that waits for one of these groups, or for one of those ``beside``, to whose
        members it goes as well.

        Raises:
            LayerUnavailable: too many frames wait already.
        """
        plain, size = frame.to_plain(), frame.size
        is_full = self._waiting_bytes > 0 and self._waiting_bytes + len(groups) * size > _MAX_WAITING_BYTES
        if is_full or self._waiting_frames + len(groups) > _MAX_WAITING_FRAMES:
            raise LayerUnavailable(
                f"The publish queue is full ({self._waiting_frames:,} events): the channel layer is down, or slower "
                "than this process sends."
            )
        if self._announcer.is_full:
            raise LayerUnavailable(
                f"Too many rooms and connections were sent to of late ({len(self._lanes):,}): the channel layer is "
                "down, or slower than this process sends."
            )
        if len(groups) == 1 and not beside and not frame.begins_message:
            return [self._put(groups[0], plain, size).confirmation]
        joint = Joint(len(groups))
        for group in beside:
            self._fence(group, joint)
        return [self._put(group, plain, size, joint).confirmation for group in groups]

    @property
    def waiting(self) -> tuple[int, int]:
        """How many frames wait, or are under way, and their number of characters."""
        return self._waiting_frames, self._waiting_bytes

    def owns(self, stream: str) -> bool:
        """Return whether a stream is, or was, this publisher's."""
        return stream.startswith(self._name)

    async def stop(self) -> None:
        """Send the frames that wait, then announce the last numbers, within a bounded time."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_SEND_LIMIT)
        await self._announcer.stop()
        if self._forgetting is not None:
            self._forgetting.cancel()
            self._forgetting = None
        for lane in self._lanes.values():
            lane.last = lane.number, lane.frames  # a message still under way is lost if it does not arrive
        sending = [group for group, lane in self._lanes.items() if lane.is_sending and lane.number]
        await self._announcer.announce(sorted({*self._announcer, *sending}))

    def last_numbers(self, groups: Collection[str], since: float, now: float) -> Iterator[Told]:
        """Return the last numbers of streams to these groups, or to all if there are none, that were active ``since``.

        Those that ended are among them. Those with a message under way are not: their numbers are announced soon.
        """
        yield from self._ended.recall(groups, since, now)
        for group in groups or self._lanes:
            lane = self._lanes.get(group)
            if lane and lane.number and lane.number == lane.last[0] and lane.sent_at >= since:
                yield lane.told(group, now)

    def send_numbers_again(self) -> None:
        """Announce the last numbers from the beginning: the broker may have lost the announcements."""
        now = asyncio.get_running_loop().time()
        for group, lane in self._lanes.items():
            if lane.number and now - lane.sent_at < 120:
                lane.sent_at, lane.announcements = now, 0
                self._idle.pop(group, None)
                self._announcer.add(group, lane, now)
        self._announcer.start()

    def _fence(self, group: str, joint: Joint) -> None:
        lane = self._lanes.get(group)
        if lane is not None and lane.batches is not None:
            joint.await_lane()
            lane.batches.append(Fence(joint, is_awaited=True))
        else:
            self._fences[group] = joint
            joint.beside.append(group)

    def _put(self, group: str, frame: str | list[Any], size: int, joint: Joint | None = None) -> Batch:
        lane = self._lanes.get(group)
        if lane is None:
            self._streams += 1
            lane = self._lanes[group] = Lane(f"{self._name}{self._streams}", asyncio.get_running_loop().time())
        batches = lane.batches
        is_idle = batches is None
        if batches is None:
            self._idle.pop(group, None)
            batches = lane.batches = deque()
            if (fence := self._fences.get(group)) is not None:
                batches.append(Fence(fence, is_awaited=False))
        last = batches[-1] if batches else None
        if not isinstance(last, Batch) or joint is not None or not last.has_room(size):
            last = Batch(joint)
            batches.append(last)
        batch = last
        batch.frames.append(frame)
        batch.size += size
        self._waiting_frames += 1
        self._waiting_bytes += size
        if is_idle:
            task = asyncio.get_running_loop().create_task(self._empty(group, lane, batches))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return batch

    async def _empty(self, group: str, lane: Lane, batches: deque[Batch | Fence]) -> None:
        try:
            while batches:
                waiting = batches.popleft()
                await waiting.wait()
                if isinstance(waiting, Batch):
                    await self._send_batch(group, lane, waiting)
        except asyncio.CancelledError:  # the loop ends, and must not be given new tasks
            while batches:
                if isinstance(left := batches.popleft(), Batch):
                    self._let_go(left)
            raise
        finally:
            lane.batches = None
        if not lane.number:  # all was given up before it was sent
            del self._lanes[group]
        self._forget_later()

    async def _send_batch(self, group: str, lane: Lane, batch: Batch) -> None:
        try:
            now = asyncio.get_running_loop().time()
            if now >= batch.due_at:
                # It never leaves this process, and takes no number, so that no receiver misses it.
                raise LayerUnavailable(
                    f"An event waited {PUBLISH_LIMIT:g} s for those before it, and was not sent to other processes."
                )
            lane.number += 1
            before, age = lane.frames, lane.age(now)
            lane.frames += len(batch.frames)
            message = RoomMessage(group, lane.stream, lane.born, lane.number, before, batch.frames, age)
            await self._confirm(group, pack(message), batch.due_at)
        except LayerUnavailable as error:
            batch.confirmation.settle(error)
        else:
            batch.confirmation.settle()
        finally:
            self._let_go(batch)
            if batch.joint is not None and batch.joint.record_sent():
                self._open_fences(batch.joint)
            now = asyncio.get_running_loop().time()
            lane.record_sent(now)
            is_unwatched = lane.number > 0 and not lane.is_watched
            if is_unwatched:
                self._announcer.add(group, lane, now)
        if is_unwatched:
            self._announcer.start()

    def _open_fences(self, joint: Joint) -> None:
        for group in joint.beside:
            if self._fences.get(group) is joint:  # else a later event has put another one there
                del self._fences[group]

    def _let_go(self, batch: Batch) -> None:
        if not batch.confirmation.is_settled:
            batch.confirmation.settle(loop_ended())
        self._waiting_frames -= len(batch.frames)
        self._waiting_bytes -= batch.size

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

    # Forgetting

    def _retire(self, group: str) -> None:
        self._idle[group] = None
        if len(self._idle) > _MOST_IDLE:
            self._forget_first(asyncio.get_running_loop().time())

    def _forget_first(self, now: float) -> None:
        group, _ = self._idle.popitem(last=False)
        lane = self._lanes.pop(group)
        if lane.last[0]:
            self._ended.record(lane.told(group, now), now, lane.sent_at)

    def _forget_later(self) -> None:
        if self._forgetting is None and self._lanes:
            self._forgetting = asyncio.get_running_loop().call_later(_FORGET_EVERY, self._forget_old)

    def _forget_old(self) -> None:
        now = asyncio.get_running_loop().time()
        while self._idle and now - self._lanes[next(iter(self._idle))].sent_at > _FORGET_AFTER:
            self._forget_first(now)
        self._ended.forget_old(now)
        self._forgetting = None
        self._forget_later()
