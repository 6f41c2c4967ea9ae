"""One lane per channel-layer group: the batches that wait to be sent to it, and the numbers of its stream.

Rules kept here:

- A batch is one message: frames to one group that gathered while the message before it was under way.
- Batches of one event to several groups leave together: after all batches that already waited in these lanes, and
  before those that come later in any of them. So each member gets one sender's events in their order.
- A batch that waits for other lanes has the same time limit as any other.
"""

import asyncio
import time
from collections import deque
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from django_etp.concurrency.confirmations import Confirmation

from .ledger import Told

__all__ = ["ANNOUNCE_AFTER", "PUBLISH_LIMIT", "Batch", "Fence", "Joint", "Lane"]

_MAX_BATCH_FRAMES = 500
_MAX_BATCH_BYTES = 256 * 1024
# How long a frame may take in all, with its waiting behind others, in seconds.
PUBLISH_LIMIT = 7.0
# When the last number of a quiet stream is announced, in seconds after its last message.
ANNOUNCE_AFTER = (0.2, 1.0, 5.0, 10.0, 20.0, 30.0)
# How often the number of a stream that goes on without a pause is announced, in seconds.
_ANNOUNCE_BUSY_EVERY = 2.0


class Joint:
    """The batches of one event to several groups.

    Args:
        sends: how many groups it is sent to.

    Attributes:
        beside: the groups with an idle lane whose next batch leaves after this event.
    """

    __slots__ = ("_is_over", "_is_ready", "_missing", "_unsent", "beside")

    def __init__(self, sends: int) -> None:
        self.beside: list[str] = []
        self._missing = self._unsent = sends
        self._is_ready = asyncio.Event()
        self._is_over = asyncio.Event()

    def await_lane(self) -> None:
        """Wait for one more lane, which has a fence."""
        self._missing += 1

    def arrive(self) -> None:
        """Record that one of the lanes has nothing left before this event."""
        self._missing -= 1
        if not self._missing:
            self._is_ready.set()

    async def ready(self) -> None:
        """Wait until all lanes have arrived."""
        await self._is_ready.wait()

    def record_sent(self) -> bool:
        """Record that one of the batches was sent, or given up; return whether it was the last."""
        self._unsent -= 1
        if not self._unsent:
            self._is_over.set()
        return not self._unsent

    async def over(self) -> None:
        """Wait until all batches were sent, or given up."""
        await self._is_over.wait()


class Fence:
    """The place in a lane of an event that takes another lane: batches behind it leave after that event.

    Args:
        joint: the event.
        is_awaited: the event waits until the lane has nothing left before this place.
    """

    __slots__ = ("_due_at", "_is_awaited", "_joint")

    def __init__(self, joint: Joint, *, is_awaited: bool) -> None:
        self._joint = joint
        self._is_awaited = is_awaited
        self._due_at = asyncio.get_running_loop().time() + PUBLISH_LIMIT

    def has_room(self, size: int) -> bool:
        """Return ``False``: nothing is sent with it."""
        return False

    async def wait(self) -> None:
        """Wait until the event was sent, or given up."""
        if self._is_awaited:
            self._joint.arrive()
        await _until(self._due_at, self._joint.over())


class Batch:
    """Frames that go to one group in one message.

    Args:
        joint: the event to several groups that is the first in it, if any.
    """

    __slots__ = ("confirmation", "due_at", "frames", "joint", "size", "traces")

    def __init__(self, joint: Joint | None = None) -> None:
        self.frames: list[str | list[Any]] = []
        self.traces: dict[str, str] | None = None  # by the numbers of frames
        self.size = 0
        self.due_at = asyncio.get_running_loop().time() + PUBLISH_LIMIT
        self.confirmation = Confirmation()
        self.joint = joint

    def add(self, frame: str | list[Any], size: int, trace: str) -> None:
        """Add a frame, and the trace that goes with it, if there is one."""
        if trace:
            self.traces = self.traces or {}
            self.traces[str(len(self.frames))] = trace
        self.frames.append(frame)
        self.size += size

    def has_room(self, size: int) -> bool:
        """Return whether a frame of this size may be added."""
        return not self.frames or (len(self.frames) < _MAX_BATCH_FRAMES and self.size + size <= _MAX_BATCH_BYTES)

    async def wait(self) -> None:
        """Wait until other lanes let it leave, for no longer than it may take in all."""
        if self.joint is not None:
            self.joint.arrive()
            await _until(self.due_at, self.joint.ready())


class Lane:
    """The batches that wait for one group, and the stream's numbers.

    A process may send to a new group with each event, so an idle lane is small.

    Args:
        stream: names the stream.
        began_at: the time now, which is monotonic.
    """

    __slots__ = (
        "announced",
        "announcements",
        "batches",
        "began_at",
        "born",
        "frames",
        "is_watched",
        "last",
        "number",
        "sent_at",
        "stream",
        "unannounced_since",
    )

    def __init__(self, stream: str, began_at: float) -> None:
        self.stream = stream
        self.began_at = began_at
        self.born = time.time()
        self.number = 0
        self.frames = 0
        # The number of the last message that is not under way any more, and the frames up to it: a message under way
        # is no loss yet.
        self.last = (0, 0)
        self.announced = 0
        self.unannounced_since = 0.0
        self.is_watched = False  # if the announcer looks at it once it has been quiet for as long as ANNOUNCE_AFTER[0]
        self.batches: deque[Batch | Fence] | None = None  # while it is sending
        self.sent_at = 0.0
        self.announcements = 0

    @property
    def is_sending(self) -> bool:
        """Whether a batch is under way, or about to be."""
        return self.batches is not None

    def record_sent(self, now: float) -> None:
        """Record that no message is under way now."""
        if self.announced == self.last[0]:
            self.unannounced_since = now
        self.last = self.number, self.frames
        self.sent_at, self.announcements = now, 0

    def due_at(self, now: float) -> float:
        """Return when its last number is due to be announced, as far as that is known now."""
        quiet_at = now + ANNOUNCE_AFTER[0] if self.is_sending else self.sent_at + ANNOUNCE_AFTER[self.announcements]
        if self.last[0] > self.announced:
            # The first one early: a node that joins the group after it knows that the stream is older.
            due_after = _ANNOUNCE_BUSY_EVERY if self.announced else ANNOUNCE_AFTER[0]
            return min(quiet_at, self.unannounced_since + due_after)
        return quiet_at

    def told(self, group: str, now: float) -> Told:
        """Return its last number, as it is announced."""
        return Told([group, self.stream, self.born, *self.last], self.age(now))

    def age(self, now: float) -> float:
        """Return for how many seconds the stream has existed.

        The clock that is monotonic may have stood still while the machine was suspended, and the other one may have
        been set back: the age is what the faster of them shows. Receivers miss nothing of a stream that seems older.
        """
        return max(now - self.began_at, time.time() - self.born)


async def _until(due_at: float, waiting: Coroutine[Any, Any, None]) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout_at(due_at):
            await waiting
