"""Prove that the broker has executed joins, for channel layers that return from a join before that.

Rules kept here:

- ``RedisPubSubChannelLayer`` returns from a join once SUBSCRIBE is written. Redis executes the commands of one
  connection in order: when an echo through a group that was joined last comes back, the joins before it are executed.
- On a layer that is spread over several servers, or of an unknown kind, each group gets an echo of its own.
- An echo can overtake the join, and is lost then: it is sent again, after pauses that grow.
- The echoes do not wait behind room traffic, neither when they are sent nor when they are read.
"""

import asyncio
import secrets
from collections.abc import Callable, Collection, Coroutine
from contextlib import suppress
from itertools import count
from typing import Any

from django_etp.conf.layer_names import channel_prefix

from .messages import Echo, Message, pack

__all__ = ["Probes"]

_PREFIX = "probe."
_FIRST_PAUSE = 0.002
_LAST_PAUSE = 0.25
_LEAVE_LIMIT = 1.0

_Call = Callable[[str], Coroutine[Any, Any, None]]


class Probes:
    """The proofs for one channel. One proof is under way at a time.

    Args:
        add: joins a group with the channel.
        discard: leaves one.
        send: sends a message to a group, over another connection than that of the joins.
        in_order: whether all joins take one connection, so that one echo proves them all.
    """

    def __init__(
        self,
        add: _Call,
        discard: _Call,
        send: Callable[[str, dict[str, Any]], Coroutine[Any, Any, None]],
        *,
        in_order: bool,
    ) -> None:
        self._add = add
        self._discard = discard
        self._send = send
        self._in_order = in_order
        self._id = f"{_PREFIX}{secrets.token_hex(8)}"
        self._numbers = count(1)
        self._sent: dict[int, str] = {}
        self._returned: set[str] = set()
        self._one_returned = asyncio.Event()

    async def prove(self, groups: Collection[str]) -> None:
        """Return once the broker has executed the joins of these groups; the caller sets the limit.

        The caller may remove groups from the collection meanwhile: those that are left.
        """
        if not self._in_order:
            await self._echo(groups)
            return
        # A new group for each proof: a join of a group that the layer takes for joined sends nothing to the broker.
        group = f"{channel_prefix()}.{self._id}.{next(self._numbers)}"
        await self._add(group)
        try:
            await self._echo((group,))
        finally:
            with suppress(Exception):
                async with asyncio.timeout(_LEAVE_LIMIT):
                    await self._discard(group)

    def take(self, message: Message) -> bool:
        """Take a message that has arrived if it is a proof's echo, of this process or of another; return whether."""
        if not (isinstance(message, Echo) and message.hub.startswith(_PREFIX)):
            return False
        if message.hub == self._id and (group := self._sent.pop(message.number, None)):
            self._returned.add(group)
            self._one_returned.set()
        return True

    async def _echo(self, groups: Collection[str]) -> None:
        pause = _FIRST_PAUSE
        try:
            while missing := [group for group in groups if group not in self._returned]:
                for group in missing:
                    number = next(self._numbers)
                    self._sent[number] = group
                    await self._send(group, pack(Echo(self._id, number)))
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        while any(group not in self._returned for group in groups):
                            self._one_returned.clear()
                            await self._one_returned.wait()
                pause = min(pause * 2, _LAST_PAUSE)
        finally:
            self._sent.clear()
            self._returned.clear()
