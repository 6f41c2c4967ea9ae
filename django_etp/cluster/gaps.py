"""Detect missing messages by the numbers of streams, as one node receives them.

Rules kept here:

- A publisher numbers the messages it sends to one group: a stream. Numbers begin at 1 and leave none out.
- A lower number than expected is a duplicate, unless it fills a gap that was not reported yet.
- A higher one leaves a gap, which is reported 1 s later. A publisher also sends its last numbers, which may overtake
  messages: a gap at the end of a stream counts once an echo, sent after it was noticed, has come back behind all
  messages that were under way.

If the first number that is seen of a stream is not 1, the messages before it were sent before the join, or they are
missing. The age that comes with each message and each last number decides that. It is a duration, as the publisher
measured it, and is compared with the time since the join: the clocks of two machines are never compared.

- A stream that is older than the join when its age arrives, or was announced before the join, began before it: nothing
  is missing.
- A stream began after the join if it did so even by an age that was measured as early as possible, less a margin: the
  messages are missing, and are reported. An answer to this node's question was measured after the question was sent;
  of an announcement it is only known that it was sent after an own heartbeat that came back before.
- Between the two, the messages are in doubt, and this node asks. A publisher that only sends, or has ended, cannot
  answer, and other nodes need not know of it: after 15 s the age that came here fastest is taken for exact, less a
  larger margin for its way here. It shows when the stream began at the latest.
- The publishers are asked after a join as well: the last number of a stream at that time is its start. Announcements
  that come within 0.5 s of the join are no start: a message that was sent before the join may not be counted yet.

At most 200,000 streams are remembered, since messages may be forged. Past that, the half of them that was seen last is
kept. The groups of the others count as joined anew, so that a stream that comes again is not reported as lost.

No clock and no layer: callers pass the time, which is monotonic.
"""

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from .ledger import Told
from .messages import RoomMessage

__all__ = ["GapTracker", "Loss"]

logger = logging.getLogger(__name__)

_PATIENCE = 1.0
# By how much an age may be wrong, in seconds, and as a share of the time since the join: two clocks differ a little in
# their rates.
_AGE_MARGIN = 0.25
_AGE_SHARE = 0.0005
# How long messages stay in doubt at most, in seconds: time for questions and for the publisher's next announcements.
_DOUBTED_FOR = 15.0
# How long an announcement may be under way if nothing shows it, in seconds.
_UNDER_WAY = 0.5
# A publisher begins a new stream after 10 minutes of silence.
_FORGET_AFTER = 1800.0
_MOST_STREAMS = 200_000
_MAKE_ROOM_EVERY = 5.0  # seconds; it takes a quarter of one


@dataclass(frozen=True, slots=True)
class Loss:
    """Messages that will not arrive any more."""

    group: str
    messages: int
    frames: int


@dataclass(slots=True)
class _Gap:
    """The numbers from ``first`` to ``last`` without those that arrived later; no set, since numbers may be forged."""

    first: int
    last: int
    frames: int
    noticed_at: float
    is_at_end: bool
    is_lost: bool = True  # if it does not close; else it was sent before the join
    came: set[int] = field(default_factory=set)

    @property
    def messages(self) -> int:
        return self.last - self.first + 1 - len(self.came)


@dataclass(slots=True)
class _Stream:
    expected: int
    frames: int
    seen_at: float
    began_before: float  # the earliest time for which its ages show that
    gaps: list[_Gap] = field(default_factory=list)
    doubt: _Gap | None = None  # the numbers before the first that was seen, until it is known who must have them


@dataclass(slots=True)
class _Group:
    joined_at: float
    announced: frozenset[str]  # the streams that were announced before
    streams: dict[str, _Stream] = field(default_factory=dict)

    def must_have(self, stream: _Stream, began_after: float, now: float, margin: float = _AGE_MARGIN) -> bool | None:
        """Return whether a stream that began after this time began after the join; ``None`` if that is not certain."""
        if began_after - margin - (now - self.joined_at) * _AGE_SHARE > self.joined_at:
            return True
        return False if stream.began_before < self.joined_at else None


class GapTracker:
    """The streams of the groups that one node has joined."""

    def __init__(self) -> None:
        self._groups: dict[str, _Group] = {}
        self._with_gaps: set[tuple[str, str]] = set()
        self._doubts: dict[tuple[str, str], _Gap] = {}  # those first that were noticed first
        self._unclear: dict[str, None] = {}
        self._count = 0
        self._next_room_at = -math.inf
        self._was_full = False

    @property
    def needs_echo(self) -> bool:
        """Whether an echo that comes back would show that something is lost."""
        return any(gap.is_at_end for group, name in self._with_gaps for gap in self._groups[group].streams[name].gaps)

    def join(self, group: str, joined_at: float, announced: frozenset[str] = frozenset()) -> None:
        """Expect every message to a group from now on; these streams to it were announced before."""
        if group not in self._groups:
            self._groups[group] = _Group(joined_at, announced)
            self._unclear[group] = None

    def leave(self, group: str) -> None:
        """Forget a group."""
        self._unclear.pop(group, None)
        if left := self._groups.pop(group, None):
            self._count -= len(left.streams)
            for name, stream in left.streams.items():
                self._with_gaps.discard((group, name))
                if stream.doubt:
                    self._doubts.pop((group, name), None)

    def receive(self, message: RoomMessage, now: float) -> bool:
        """Record a message; return whether to deliver it, which is false for a duplicate."""
        group = self._groups.get(message.group)
        if group is None:
            return True
        stream = group.streams.get(message.stream)
        if is_new := stream is None:
            if not self._has_room(now):
                return True
            stream = self._begin(group, message.stream, message.number, message.frames_before, now)
            if message.number > 1:
                doubt = _Gap(1, message.number - 1, message.frames_before, now, is_at_end=False)
                stream.doubt = self._doubts[message.group, message.stream] = doubt
        if stream.doubt:
            self._judge(message.group, message.stream, message.age, -math.inf, now, asks=is_new)
        stream.seen_at = now
        if message.number < stream.expected:
            return self._fill(stream, message, now)
        if message.number > stream.expected:
            frames = message.frames_before - stream.frames
            gap = _Gap(stream.expected, message.number - 1, frames, now, is_at_end=False)
            self._add(gap, (message.group, message.stream), stream)
        stream.expected = message.number + 1
        stream.frames = message.frames_before + len(message.frames)
        return True

    def receive_last(self, stated: Told, measured_after: float, now: float, *, is_answer: bool = False) -> None:
        """Record the last number of a stream.

        Args:
            stated: the number, and the age of the stream.
            measured_after: a time before the age was measured.
            now: the time.
            is_answer: this node has asked for it, and would learn nothing more exact.
        """
        group_name, name, _, last, frames = stated.stream
        group = self._groups.get(group_name)
        if group is None:
            return
        key = group_name, name
        stream = group.streams.get(name)
        if stream is None:
            if (not is_answer and now - group.joined_at < _UNDER_WAY) or not self._has_room(now):
                return
            stream = self._begin(group, name, last + 1, frames, now)
            stream.doubt = self._doubts[key] = _Gap(1, last, frames, now, is_at_end=True)
        elif last >= stream.expected:
            gap = _Gap(stream.expected, last, frames - stream.frames, now, is_at_end=True)
            self._add(gap, key, stream)
            stream.expected, stream.frames = last + 1, frames
        if stream.doubt:
            self._judge(group_name, name, stated.age, measured_after, now, asks=not is_answer)

    def take_unclear(self, most: int) -> list[str]:
        """Return groups whose publishers should be asked for the numbers and ages of their streams, each once."""
        taken = list(islice(self._unclear, most))
        for group in taken:
            del self._unclear[group]
        return taken

    def losses(self, now: float, echoed_at: float) -> Iterator[Loss]:
        """Return each gap that will not close, once; ``echoed_at`` is when the last echo that came back was sent."""
        self._give_up_doubts(now)
        for key in sorted(self._with_gaps):
            group, name = key
            stream = self._groups[group].streams[name]
            for gap in tuple(stream.gaps):
                is_due = echoed_at > gap.noticed_at if gap.is_at_end else True
                if not gap.messages:
                    stream.gaps.remove(gap)
                elif is_due and now - gap.noticed_at >= _PATIENCE:
                    stream.gaps.remove(gap)
                    if gap.is_lost:
                        yield Loss(group, gap.messages, max(gap.frames, 0))
            if not stream.gaps:
                self._with_gaps.discard(key)

    def restart(self, now: float) -> None:
        """Count the silence of all streams, and the time of doubts, from now: nothing could arrive until now."""
        for doubt in self._doubts.values():
            doubt.noticed_at = now
        for group in self._groups.values():
            for stream in group.streams.values():
                stream.seen_at = now

    def forget_old(self, now: float) -> None:
        """Forget streams that ended long ago."""
        self._forget(lambda stream: now - stream.seen_at > _FORGET_AFTER)

    def _has_room(self, now: float) -> bool:
        """Return whether one more stream can be remembered; streams that were not seen of late are forgotten for it."""
        if self._count < _MOST_STREAMS:
            return True
        if now < self._next_room_at:
            return False
        self._next_room_at = now + _MAKE_ROOM_EVERY
        seen = sorted(stream.seen_at for group in self._groups.values() for stream in group.streams.values())
        self._forget(lambda stream: stream.seen_at <= seen[len(seen) // 2], joined_at=now)
        if self._count >= _MOST_STREAMS and not self._was_full:
            self._was_full = True
            many = f"More than {_MOST_STREAMS:,} streams miss messages; losses of further ones are not noticed."
            logger.error("%s Does another program write to the broker?", many)
        return self._count < _MOST_STREAMS

    def _forget(self, is_old: Callable[[_Stream], bool], joined_at: float = -math.inf) -> None:
        for group in self._groups.values():
            for name, stream in tuple(group.streams.items()):
                if not (stream.gaps or stream.doubt) and is_old(stream):
                    del group.streams[name]
                    group.joined_at = max(group.joined_at, joined_at)
                    self._count -= 1

    def _add(self, gap: _Gap, key: tuple[str, str], stream: _Stream) -> None:
        stream.gaps.append(gap)
        self._with_gaps.add(key)

    def _begin(self, group: _Group, name: str, expected: int, frames: int, now: float) -> _Stream:
        began_before = -math.inf if name in group.announced else math.inf
        stream = group.streams[name] = _Stream(expected, frames, now, began_before)
        self._count += 1
        return stream

    def _judge(self, group_name: str, name: str, age: float, measured_after: float, now: float, *, asks: bool) -> None:
        """End the doubt about the first numbers of a stream if this age, measured after a time until now, allows it."""
        group = self._groups[group_name]
        stream = group.streams[name]
        stream.began_before = min(stream.began_before, now - age)
        must_have = group.must_have(stream, measured_after - age, now)
        if must_have is not None:
            self._decide((group_name, name), stream, is_lost=must_have)
        elif asks and stream.doubt and stream.doubt.messages:
            self._unclear[group_name] = None

    def _decide(self, key: tuple[str, str], stream: _Stream, *, is_lost: bool) -> None:
        """End the doubt: the first numbers are missing, or were sent before the join."""
        doubt, stream.doubt = self._doubts.pop(key), None
        doubt.is_lost = is_lost
        self._add(doubt, key, stream)  # even if they are not missed, some may be on their way

    def _give_up_doubts(self, now: float) -> None:
        while self._doubts:
            key, doubt = next(iter(self._doubts.items()))
            if now - doubt.noticed_at < _DOUBTED_FOR:
                return
            group = self._groups[key[0]]
            stream = group.streams[key[1]]
            must_have = group.must_have(stream, stream.began_before, now, _UNDER_WAY)
            self._decide(key, stream, is_lost=bool(must_have))

    def _fill(self, stream: _Stream, message: RoomMessage, now: float) -> bool:
        for gap in (*stream.gaps, *([stream.doubt] if stream.doubt else ())):
            if gap.first <= message.number <= gap.last and message.number not in gap.came:
                gap.came.add(message.number)
                gap.frames -= len(message.frames)
                if gap.is_at_end:
                    gap.noticed_at = now  # those behind it may arrive, too
                return True
        return False
