"""Rejoin the groups, and renew the channels, of a node that no longer receives anything.

Rules kept here:

- A node sends itself echoes and receives its own heartbeats. If neither these nor anything else arrives, the broker may
  have forgotten the node's groups: all of them are joined again. If that does not help, its channels are renewed.
- If the broker takes the node's messages and does not return them, no join on the same channels helps on a layer that
  keeps no messages for them: redis-py takes itself for subscribed. There the channels are renewed at once.
- One attempt is under way at a time, and one begins each second.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from .heartbeat import Heartbeat
from .liveness import Liveness
from .receiver import Receiver

__all__ = ["Healing"]

logger = logging.getLogger(__name__)

_HEAL_EVERY = 1.0
# After this long without a message the channels are renewed, in seconds, if the layer has taken heartbeats for so long.
# Messages in the broker are lost then.
_RENEW_AFTER = 15.0
_REACHED_FOR = 5.0
# How long the broker may have a message until it is back, and the first pause between such renewals, in seconds.
_BACK_WITHIN = 0.5
_FIRST_RENEWAL_PAUSE = 1.0


class Healing:
    """The attempts to make one node receive again.

    Args:
        receiver: the channels and groups.
        liveness: detects that the node receives nothing.
        heartbeat: sends a heartbeat and an echo, which should come back.
        healed: is called once the node receives again, with the number of seconds for which it did not.
        run: starts a task.
    """

    def __init__(
        self,
        receiver: Receiver,
        liveness: Liveness,
        heartbeat: Heartbeat,
        healed: Callable[[float], None],
        run: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    ) -> None:
        self._receiver = receiver
        self._liveness = liveness
        self._heartbeat = heartbeat
        self._healed = healed
        self._run = run
        self._attempt: asyncio.Task[None] | None = None
        self._next_at = self._renewed_at = self._deaf_since = 0.0
        self._reached_since: float | None = None
        self._renewal_pause = _FIRST_RENEWAL_PAUSE
        self.is_needed = False

    def restart(self, now: float) -> None:
        """Count from now: nothing could arrive until now."""
        self._renewed_at = now

    def stop(self) -> None:
        """Heal nothing more: the node has stopped."""
        self.is_needed = False

    def look(self, now: float) -> None:
        """Check that the node receives what it sends to itself; heal it if it does not."""
        if not self._liveness.is_deaf(now, self._heartbeat.interval):
            if self.is_needed:
                self.is_needed = False
                self._renewed_at = now
                self._renewal_pause = _FIRST_RENEWAL_PAUSE
                logger.warning("Messages arrive from the channel layer again.")
                self._healed(now - self._deaf_since)
            return
        self._liveness.record_deafness()
        if not self.is_needed:
            self.is_needed = True
            self._deaf_since = now - self._liveness.silent_for(now)
            self._reached_since = None
            logger.warning(
                "Nothing arrives from the channel layer, not even this process's own heartbeats; rejoining all groups "
                "until messages arrive."
            )
        is_unheard = self._is_unheard(now)
        if (now >= self._next_at or is_unheard) and (self._attempt is None or self._attempt.done()):
            self._next_at = now + _HEAL_EVERY
            is_reached = self._reached_since is not None and now - self._reached_since > _REACHED_FOR
            is_late = is_reached and min(self._liveness.silent_for(now), now - self._renewed_at) > _RENEW_AFTER
            self._attempt = self._run(self._heal(now, renew=is_unheard or is_late))

    def _is_unheard(self, now: float) -> bool:
        if self._receiver.keeps_messages or now - self._renewed_at < self._renewal_pause:
            return False
        return self._liveness.unheard_for(now) > _BACK_WITHIN

    async def _heal(self, now: float, *, renew: bool) -> None:
        if renew:
            self._renewed_at = now
            self._renewal_pause = min(self._renewal_pause * 2, _RENEW_AFTER)
            await self._receiver.renew()
            self._liveness.expect_nothing()
        await self._receiver.open()
        self._receiver.join_again()
        self._run(self._heartbeat.send_echo())
        try:
            await self._heartbeat.announce()
        except Exception:
            self._reached_since = None
            raise
        if self._reached_since is None:
            self._reached_since = asyncio.get_running_loop().time()
