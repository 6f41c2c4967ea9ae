"""Room traffic as one node receives it: deliver each frame once, and find out which messages were lost."""

import asyncio
import math
from collections.abc import Callable, Iterator

from .gaps import GapTracker, Loss
from .host import Host
from .ledger import Ledger, Told
from .liveness import Liveness
from .messages import Echo, Foreign, Frame, Malformed, Message, Numbers, RoomMessage
from .numbers import MAX_STREAM_NAME

__all__ = ["Traffic"]

# How often an echo is sent while messages are missing, in seconds.
_ECHO_EVERY = 0.5


class Traffic:
    """The messages to a node's groups.

    Args:
        host: the hub, whose members get the frames.
        liveness: records that messages arrive.
        owns: whether a stream is the node's own, which its local members have had already.
    """

    def __init__(self, host: Host, liveness: Liveness, owns: Callable[[str], bool]) -> None:
        self._host = host
        self._liveness = liveness
        self._owns = owns
        self._gaps = GapTracker()
        self.overheard = Ledger()  # the announcements of other nodes

    def receive(self, message: Message) -> None:
        """Process a message from the channel for room traffic.

        Raises:
            Malformed: it does not belong there, or holds no frames.
        """
        now = asyncio.get_running_loop().time()
        # Any message proves that the channel is read: behind a flood an echo takes its time.
        self._liveness.record_traffic(now)
        match message:
            case RoomMessage():
                if self._owns(message.stream):
                    return
                frames = [Frame.from_plain(frame) for frame in message.frames]
                if self._gaps.receive(message, now):
                    for frame in frames:
                        self._host.deliver_frame(message.group, frame)
            case Foreign():
                self._host.deliver_foreign(message)
            case Echo() if message.hub == self._host.id:
                self._liveness.record_echo(message.number, now)
            case _:
                raise Malformed(f"a message of type {message.type!r} does not belong on a room's group")

    def receive_numbers(self, numbers: Numbers, measured_after: float) -> None:
        """Process the last numbers of other nodes' streams, whose ages were measured after a time of this node's clock.

        Raises:
            Malformed: one of them is no number of a stream; those before it count.
        """
        now = asyncio.get_running_loop().time()
        # Of a publisher that sends no ages, all streams seem older than any join.
        ages = numbers.ages or [math.inf] * len(numbers.streams)
        if len(ages) != len(numbers.streams):
            raise Malformed(f"{len(numbers.streams)} streams must have as many ages, got {len(ages)}")
        for stream, age in zip(numbers.streams, ages, strict=True):
            match stream, age:
                case [
                    [str(), str(name), int() | float(), int(last), int(frames)],
                    int() | float(),
                ] if 1 <= last <= frames and age >= 0 and len(name) <= MAX_STREAM_NAME:
                    if not self._owns(name):
                        told = Told(stream, age)
                        self._gaps.receive_last(told, measured_after, now, is_answer=bool(numbers.asked))
                        if not numbers.asked:
                            self.overheard.record(told, now, now)
                case _:
                    raise Malformed(
                        f"a stream's last number must be a list of five that fit, with an age; got {stream!r:.80} and "
                        f"{age!r:.20}"
                    )

    def take_unclear(self, most: int) -> list[str]:
        """Return groups whose publishers should be asked for the numbers of their streams. See GapTracker."""
        return self._gaps.take_unclear(most)

    def joined(self, group: str) -> None:
        """Expect every message to a group from now on."""
        self._gaps.join(group, asyncio.get_running_loop().time(), self.overheard.names(group))

    def leave(self, group: str) -> None:
        """Expect nothing more from a group."""
        self._gaps.leave(group)

    def losses(self, now: float) -> Iterator[Loss]:
        """Return the losses that are certain by now, each once."""
        return self._gaps.losses(now, self._liveness.echoed_at)

    def needs_echo(self, now: float) -> bool:
        """Whether to send an echo now, which will show that missing messages are lost."""
        return now - self._liveness.last_echo_at() >= _ECHO_EVERY and self._gaps.needs_echo

    def restart(self, now: float) -> None:
        """Count the silence of all streams from now: nothing could arrive until now."""
        self._gaps.restart(now)

    def forget_old(self, now: float) -> None:
        """Forget streams that ended long ago."""
        self._gaps.forget_old(now)
        self.overheard.forget_old(now)
