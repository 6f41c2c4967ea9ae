"""How a hub that hears nothing is healed.

Rules kept here:

- A hub sends itself echoes and hears its own signs of life. Where neither these nor anything else comes, the broker may
  have forgotten its groups, and all are joined again; where that does not help either, it begins anew.
- One attempt is under way at a time, and one begins each second.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from .liveness import Liveness
from .receiver import Receiver

__all__ = ["Healing"]

logger = logging.getLogger(__name__)

_HEAL_EVERY = 1.0
# How long nothing may come back before all is made anew.
_BEGIN_ANEW_AFTER = 15.0


class Healing:
    """What is done while a hub hears nothing.

    Args:
        receiver: the channels and groups to be healed.
        liveness: tells whether it hears.
        announce: sends the hub what it should hear.
        healed: is called once it hears again.
        run: starts a task.
    """

    def __init__(
        self,
        receiver: Receiver,
        liveness: Liveness,
        announce: Callable[[], None],
        healed: Callable[[], None],
        run: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    ) -> None:
        self._receiver = receiver
        self._liveness = liveness
        self._announce = announce
        self._healed = healed
        self._run = run
        self._attempt: asyncio.Task[None] | None = None
        self._next_at = self._anew_at = 0.0
        self.is_needed = False

    def restart(self, now: float) -> None:
        """Count from now: nothing could come until now."""
        self._anew_at = now

    def stop(self) -> None:
        """Take note that nothing is to be heard any more."""
        self.is_needed = False

    def look(self, now: float, interval: float) -> None:
        """Look whether the hub hears what it says every ``interval`` seconds, and heal it where it does not."""
        if not self._liveness.is_deaf(now, interval):
            if self.is_needed:
                self.is_needed = False
                self._anew_at = now
                logger.warning("The channel layer brings messages again.")
                self._healed()
            return
        self._liveness.record_deafness()
        if not self.is_needed:
            self.is_needed = True
            logger.warning(
                "The channel layer brings nothing, not even what this process sends to itself: all rooms are joined "
                "again until it does."
            )
        if now >= self._next_at and (self._attempt is None or self._attempt.done()):
            self._next_at = now + _HEAL_EVERY
            self._attempt = self._run(self._heal(now))

    async def _heal(self, now: float) -> None:
        if min(self._liveness.silent_for(now), now - self._anew_at) > _BEGIN_ANEW_AFTER:
            self._anew_at = now
            await self._receiver.begin_anew()
        await self._receiver.open()
        self._receiver.join_again()
        self._announce()
