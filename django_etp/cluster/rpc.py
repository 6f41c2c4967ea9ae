"""Requests to other nodes, and when their replies are complete.

Rules kept here:

- A question to all comes back to its asker. By then that has heard of every hub that announced itself before it was
  asked: so a connection that was accepted then is not missed.
- A question is complete when every hub has answered that the asker knows, or that one of the answers names; what the
  asker knows to be gone counts for nothing.
- An asker so new that others may not have answered its announcement wants a sign of each hub that hears its query,
  however long the answer takes. Where it knows no hub, it waits half a second for one; then nobody is there. Where it
  asks for a connection, whose id names a hub, it waits two.
- What is not complete in time raises ``IncompleteAnswer`` with what did come.
"""

import asyncio
import math
import secrets
from collections.abc import Callable, Coroutine
from typing import Any

from django_etp.exceptions import IncompleteAnswer, LayerUnavailable, describe

from .messages import Heard, Query, Reply

__all__ = ["Queries"]

_WAIT_FOR_NOBODY = 0.5
_WAIT_FOR_ONE = 2.0


class _Asked:
    """One question under way."""

    __slots__ = ("answers", "back_at", "changed", "expected", "failures", "is_to_all", "knows_all")

    def __init__(self, expected: frozenset[str], *, is_to_all: bool, knows_all: bool) -> None:
        self.expected = set(expected)
        self.is_to_all = is_to_all
        self.back_at: float | None = None if is_to_all else -math.inf
        self.knows_all = knows_all
        self.answers: dict[str, Any] = {}
        self.failures: dict[str, str] = {}
        self.changed = asyncio.Event()

    @property
    def is_back(self) -> bool:
        return self.back_at is not None

    @property
    def is_complete(self) -> bool:
        heard = self.answers.keys() | self.failures.keys()
        return self.is_back and (bool(heard) or self.knows_all) and self.expected <= heard


class Queries:
    """The questions that one hub has asked.

    Args:
        own_id: the asker itself, which others may name, and which need not answer.
        send: sends a question to one hub by its id, or to all (``None``).
        answer_to: the group where answers are heard.
        is_gone: tells of a hub's id whether it went lately: others may still name it.
    """

    def __init__(
        self,
        own_id: str,
        send: Callable[[str | None, Query], Coroutine[Any, Any, None]],
        answer_to: str,
        is_gone: Callable[[str], bool],
    ) -> None:
        self._own_id = own_id
        self._send = send
        self._answer_to = answer_to
        self._is_gone = is_gone
        self._asked: dict[str, _Asked] = {}

    async def ask(
        self,
        hub: str | None,
        known: frozenset[str],
        action: str,
        arguments: list[Any],
        timeout: float,
        *,
        knows_all: bool = False,
        expects_one: bool = False,
    ) -> dict[str, Any]:
        """Ask one hub, or all, and return their answers by hub id; ``None`` is that of one that went meanwhile.

        ``knows_all`` says that the asker has been among the others for long enough to know them, ``expects_one`` that
        some hub, unknown as yet, should have an answer.

        Raises:
            IncompleteAnswer: some did not answer within ``timeout`` seconds, or failed; ``answer`` holds the others'.
            LayerUnavailable: the question could not be sent within that time.
        """
        expected = known if hub is None else frozenset([hub])
        asked = _Asked(expected, is_to_all=hub is None, knows_all=knows_all)
        wants_sign = asked.is_to_all and not knows_all
        query = Query(secrets.token_hex(8), self._answer_to, action, arguments, wants_sign)
        self._asked[query.id] = asked
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            try:
                async with asyncio.timeout(timeout):
                    await self._send(hub, query)
            except Exception as error:
                raise LayerUnavailable(f"A question could not be sent: {describe(error)}.") from error
            while not asked.is_complete:
                ends_at = started + timeout
                if asked.back_at is not None and not asked.expected:  # is anybody there?
                    ends_at = min(ends_at, asked.back_at + (_WAIT_FOR_ONE if expects_one else _WAIT_FOR_NOBODY))
                left = ends_at - loop.time()
                if left <= 0:
                    break
                asked.changed.clear()
                try:
                    async with asyncio.timeout(left):
                        await asked.changed.wait()
                except TimeoutError:
                    continue
        finally:
            del self._asked[query.id]
        missing = asked.expected - asked.answers.keys()
        if missing:
            reasons = "; ".join(sorted(set(asked.failures.values())))
            raise IncompleteAnswer(
                f"{len(missing)} of {len(asked.expected)} processes gave no answer to {action!r} within {timeout:g} s"
                f"{': ' + reasons if reasons else ''}. What the others said is in .answer.",
                answer=asked.answers,
            )
        if not asked.is_back:
            raise IncompleteAnswer(
                f"The channel layer did not bring the question {action!r} back to its asker within {timeout:g} s: "
                "others may not have heard it either. What was said is in .answer.",
                answer=asked.answers,
            )
        return asked.answers

    def receive_own(self, id: str, known: frozenset[str]) -> None:
        """Take note that a question came back; ``known`` is who is known now."""
        if asked := self._asked.get(id):
            asked.expected |= known
            asked.back_at = asyncio.get_running_loop().time()
            asked.changed.set()

    def receive_sign(self, sign: Heard | Reply) -> None:
        """Take note of who heard a query, and of whom that knows: all of them are to answer."""
        if (asked := self._asked.get(sign.id)) and asked.is_to_all:
            named = (hub for hub in sign.known if isinstance(hub, str) and not self._is_gone(hub))
            asked.expected.update([sign.hub, *named])
            asked.expected.discard(self._own_id)
            asked.changed.set()

    def receive(self, reply: Reply) -> None:
        """Take an answer; one that nobody waits for is dropped."""
        asked = self._asked.get(reply.id)
        if asked is None:
            return
        self.receive_sign(reply)
        if reply.error:
            asked.failures[reply.hub] = reply.error
        else:
            asked.answers[reply.hub] = reply.result
        asked.changed.set()

    def forget(self, hub: str) -> None:
        """Wait no longer for a hub that is gone."""
        for asked in self._asked.values():
            if hub not in asked.expected:
                continue
            if asked.is_to_all:
                asked.expected.discard(hub)
            else:
                asked.answers[hub] = None
            asked.changed.set()
