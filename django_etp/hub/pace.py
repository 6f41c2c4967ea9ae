"""The pace of the senders of one hub: other tasks run between their sends, and clients can read what they send.

Rules kept here:

- A sender that never has to wait lets the event loop turn now and then, so that other tasks run.
- After each 1 MiB for members of this process a sender waits while more than half of the members are far behind, for
  0.25 s at most. So a flood does not fill the memory with frames for clients that do read, and a few slow clients hold
  up no sender.
"""

import asyncio
from collections.abc import Sequence

from django_etp.concurrency.confirmations import Confirmation

from .members import Member

__all__ = ["Pace"]

# After this many sends, or bytes for members, a sender lets the event loop turn once.
_SENDS_PER_TURN = 64
_BYTES_PER_TURN = 1024 * 1024
# The limit of a wait for clients, and how often they are looked at, in seconds.
_LONGEST_WAIT = 0.25
_LOOK_EVERY = 0.005


class Pace:
    """Counts what is sent on one event loop, and slows its senders down."""

    __slots__ = ("_bytes", "_loop", "_sends")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._sends = 0
        self._bytes = 0

    def slow(self, members: Sequence[Member], size: int) -> list[Confirmation]:
        """Record a frame of ``size`` bytes for each of these members; return what its sender is to wait for."""
        self._bytes += size * len(members)
        if self._bytes < _BYTES_PER_TURN:
            return []
        self._bytes = 0
        confirmation = Confirmation()
        # Called once the frames have been written, as far as the clients take them at once.
        self._loop.call_soon(self._look, confirmation, members, self._loop.time() + _LONGEST_WAIT)
        return [confirmation]

    async def turn(self) -> None:
        """Let other tasks run, if it is time."""
        self._sends += 1
        if self._sends >= _SENDS_PER_TURN:
            self._sends = 0
            await asyncio.sleep(0)

    def _look(self, confirmation: Confirmation, members: Sequence[Member], until: float) -> None:
        behind = sum(member.is_far_behind for member in members)
        if 2 * behind > len(members) and self._loop.time() < until:
            self._loop.call_later(_LOOK_EVERY, self._look, confirmation, members, until)
        else:
            confirmation.settle()
