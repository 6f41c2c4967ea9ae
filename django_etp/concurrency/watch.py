"""Find writers that wait for a client which takes nothing, or next to nothing.

Rules kept here:

- Progress is judged over time, and never by what happens to wait at one moment.
- A writer with no more than ``MAX_OUTBOX`` bytes behind it is stuck after ``SLOW_CLIENT_TIMEOUT`` seconds in which its
  client took nothing.
- A writer with more than that is stuck after a quarter of that time in which its client took less than 1/64 of
  ``MAX_OUTBOX``. So a client that reads a byte a second cannot keep the memory of the process. It has the whole time if
  only the end of a frame can be seen, which may be large.
- If the process stood still, its clients are not to blame: their time begins anew.
- There is one timer for all writers, and none while no writer has to wait.
"""

import asyncio
from dataclasses import dataclass
from typing import Protocol

from django_etp.conf import get_settings

__all__ = ["Watch", "Writer"]

# A timeout is checked this many times.
_LOOKS = 8
# Of the timeout, for a writer that is far behind.
_SHARE_OF_TIME = 4
# Of MAX_OUTBOX: the bytes that a client must take in that time.
_SHARE_OF_BYTES = 64


class Writer(Protocol):
    """Writes to one client, in order."""

    @property
    def is_waiting(self) -> bool:
        """Whether anything waits to be written, or is being written."""

    @property
    def is_over(self) -> bool:
        """Whether more waits than ``MAX_OUTBOX``."""

    @property
    def waiting_size(self) -> int:
        """The number of bytes that wait to be written, or are being written."""

    @property
    def taken(self) -> int:
        """The number of bytes that the client's side has taken."""

    @property
    def takes_parts(self) -> bool:
        """Whether ``taken`` grows while a large frame is under way, and not only after it."""

    def give_up(self, seconds: float) -> None:
        """Close the connection: its client took nothing, or next to nothing, for this many seconds."""


@dataclass(slots=True)
class _Window:
    since: float
    taken: int


class Watch:
    """The writers of one event loop that had to wait."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._windows: dict[Writer, _Window] = {}
        self._due = 0.0

    def add(self, writer: Writer) -> None:
        """Watch a writer until nothing waits there any more."""
        if writer not in self._windows:
            now = self._loop.time()
            if not self._windows:
                self._look_at(now + self._interval())
            self._windows[writer] = _Window(now, writer.taken)

    def waiting(self) -> tuple[int, int]:
        """Return how many writers wait, of those that had to wait when they were last looked at, and their bytes."""
        sizes = [writer.waiting_size for writer in self._windows if writer.is_waiting]
        return len(sizes), sum(sizes)

    def _look_at(self, due: float) -> None:
        self._due = due
        self._loop.call_at(due, self._look)

    def _interval(self) -> float:
        return get_settings().slow_client_timeout / _LOOKS

    def _look(self) -> None:
        now, settings = self._loop.time(), get_settings()
        stood_still = now - self._due > self._interval()
        stuck: list[tuple[Writer, float]] = []
        for writer, window in tuple(self._windows.items()):
            if not writer.is_waiting:
                del self._windows[writer]
                continue
            # A frame under way is in the server's buffer before it counts as written, so the number may fall.
            window.taken = min(window.taken, writer.taken)
            least, timeout = 1, settings.slow_client_timeout
            if writer.is_over:
                least = settings.max_outbox // _SHARE_OF_BYTES
                timeout /= _SHARE_OF_TIME if writer.takes_parts else 1
            if stood_still or writer.taken - window.taken >= least:
                window.since, window.taken = now, writer.taken
            elif now - window.since >= timeout:
                del self._windows[writer]
                stuck.append((writer, now - window.since))
        if self._windows:
            self._look_at(now + self._interval())
        for writer, seconds in stuck:
            writer.give_up(seconds)
