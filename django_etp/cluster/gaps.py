"""Detect missing messages by the numbers of streams, as one node receives them.

Rules kept here:

- A publisher numbers the messages it sends to one group: a stream. Numbers begin at 1 and leave none out.
- A stream born after this node joined the group must begin with 1; of any other, the first number seen is the start.
- A lower number than expected is a duplicate, unless it fills a gap that was not reported yet.
- A higher one leaves a gap, which is reported 1 s later. A publisher also sends its last numbers, which may overtake
  messages: a gap at the end of a stream counts once an echo, sent after it was noticed, has come back behind all
  messages that were under way.

No clock and no layer: callers pass the time, which is monotonic unless a docstring names another clock.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from .messages import RoomMessage

__all__ = ["GapTracker", "Loss"]

_PATIENCE = 1.0
# Clocks of several machines differ a little: a stream younger than its group's join by less than this may have begun
# before it.
_CLOCK_MARGIN = 0.25
# A publisher begins a new stream after 10 minutes of silence.
_FORGET_AFTER = 1800.0


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
    is_lost: bool = True
    came: set[int] = field(default_factory=set)

    @property
    def messages(self) -> int:
        return self.last - self.first + 1 - len(self.came)


@dataclass(slots=True)
class _Stream:
    expected: int
    frames: int
    seen_at: float
    gaps: list[_Gap] = field(default_factory=list)


@dataclass(slots=True)
class _Group:
    joined_at: float
    streams: dict[str, _Stream] = field(default_factory=dict)


class GapTracker:
    """The streams of the groups that one node has joined."""

    def __init__(self) -> None:
        self._groups: dict[str, _Group] = {}
        self._with_gaps: set[tuple[str, str]] = set()

    @property
    def has_gaps(self) -> bool:
        """Whether something is missing and not reported yet."""
        return bool(self._with_gaps)

    def join(self, group: str, joined_at: float) -> None:
        """Expect every message to a group from now on; ``joined_at`` is wall-clock time, as ``born`` is."""
        self._groups.setdefault(group, _Group(joined_at))

    def leave(self, group: str) -> None:
        """Forget a group."""
        if left := self._groups.pop(group, None):
            self._with_gaps -= {(group, name) for name in left.streams}

    def receive(self, message: RoomMessage, now: float) -> bool:
        """Record a message; return whether to deliver it, which is false for a duplicate."""
        group = self._groups.get(message.group)
        if group is None:
            return True
        stream = self._stream(group, message.stream, message.born, message.number, message.frames_before, now)
        stream.seen_at = now
        if message.number < stream.expected:
            return self._fill(stream, message)
        if message.number > stream.expected:
            frames = message.frames_before - stream.frames
            stream.gaps.append(_Gap(stream.expected, message.number - 1, frames, now, is_at_end=False))
            self._with_gaps.add((message.group, message.stream))
        stream.expected = message.number + 1
        stream.frames = message.frames_before + len(message.frames)
        return True

    def receive_last(self, group_name: str, name: str, born: float, last: int, frames: int, now: float) -> None:
        """Record the last number of a stream that went quiet, and how many frames it had in all."""
        group = self._groups.get(group_name)
        if group is None:
            return
        is_new = name not in group.streams
        stream = self._stream(group, name, born, last + 1, frames, now)
        if is_new and last < stream.expected:
            # Messages sent before the join are not missing; those sent after it may have been overtaken by the number.
            stream.gaps.append(_Gap(1, last, 0, now, is_at_end=True, is_lost=False))
            self._with_gaps.add((group_name, name))
        elif last >= stream.expected:
            stream.gaps.append(_Gap(stream.expected, last, frames - stream.frames, now, is_at_end=True))
            stream.expected, stream.frames = last + 1, frames
            self._with_gaps.add((group_name, name))

    def losses(self, now: float, echoed_at: float) -> Iterator[Loss]:
        """Return each gap that will not close, once; ``echoed_at`` is when the last echo that came back was sent."""
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

    def forget_old(self, now: float) -> None:
        """Forget streams that ended long ago."""
        for group in self._groups.values():
            for name, stream in tuple(group.streams.items()):
                if not stream.gaps and now - stream.seen_at > _FORGET_AFTER:
                    del group.streams[name]

    def _stream(self, group: _Group, name: str, born: float, number: int, frames: int, now: float) -> _Stream:
        stream = group.streams.get(name)
        if stream is None:
            must_begin_at_1 = born > group.joined_at + _CLOCK_MARGIN
            stream = _Stream(1, 0, now) if must_begin_at_1 else _Stream(number, frames, now)
            group.streams[name] = stream
        return stream

    def _fill(self, stream: _Stream, message: RoomMessage) -> bool:
        for gap in stream.gaps:
            if gap.first <= message.number <= gap.last and message.number not in gap.came:
                gap.came.add(message.number)
                gap.frames -= len(message.frames)
                return True
        return False
