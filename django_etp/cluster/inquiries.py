"""Ask the other nodes for the last numbers of their streams, and answer when they ask.

Rules kept here:

- A node that received nothing for a while, for any reason, may have missed the end of any stream, and each
  announcement of it. It asks for the numbers of all streams that had messages meanwhile.
- It asks three times: those that should answer may have been cut off as well.
- It asks for the groups that it has just joined, whose streams may be quiet, and for those with a stream whose age
  decides whether messages are missing, if no announcement was exact. The more nodes there are, the less often it asks.
- A node answers for its own streams. For publishers that may not receive the question, because they only send or have
  ended, it repeats what they have announced.
- A number in an answer counts each message that was sent before the request: the asking node may take it for the start
  of a stream. So a node leaves out its own streams with a message under way, and those of others whose number changed
  lately: a newer one may not be announced yet.
"""

import asyncio
import math
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from django_etp.conf.layer_names import ask_group, control_group

from .directory import Directory, beat_interval
from .ledger import Told
from .liveness import Liveness
from .messages import Malformed, Numbers, Wanted, pack
from .publisher import Publisher
from .traffic import Traffic
from .transport import Transport

__all__ = ["Inquiries"]

# When to ask after a silence, in seconds.
_ASK_AFTER = (0.0, 2.0, 8.0)
# How long a message may have been lost before the silence was noticed, in seconds; until then announcements reveal it.
_BEFORE_SILENCE = 60.0
# If it is not known how long a silence was: longer than a quiet stream is continued, and shorter than receivers
# remember it. A node that has forgotten a stream would take its messages for missing.
_UNKNOWN_SILENCE = 900.0
# How often to ask for single groups: so many times between two heartbeats.
_ASKS_PER_BEAT = 4
# A request names no more groups than this. After a silence a node with more of them asks for all groups.
_MOST_GROUPS = 500
_STREAMS_AT_ONCE = 500
# A node remembers of this many requests when it sent them.
_REMEMBERED = 20
# How long a send may take until the broker has the message, with its retry, in seconds.
_LONGEST_SEND = 10.0
# After how many seconds at most a new number of a stream is announced.
_ANNOUNCED_WITHIN = 3.0


class Inquiries:
    """The requests for last numbers of one node, and its answers to those of others.

    Args:
        group: the node's group for answers.
        transport: the channel layer.
        directory: the other nodes, which answer for themselves if they have connections.
        liveness: knows for how long nothing arrived.
        publisher: the node's own streams.
        traffic: gets the numbers of others.
        groups: returns the groups of room traffic that the node has joined.
        run: starts a task.
    """

    def __init__(
        self,
        group: str,
        *,
        transport: Transport,
        directory: Directory,
        liveness: Liveness,
        publisher: Publisher,
        traffic: Traffic,
        groups: Callable[[], tuple[str, ...]],
        run: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self._group = group
        self._transport = transport
        self._directory = directory
        self._liveness = liveness
        self._publisher = publisher
        self._traffic = traffic
        self._groups = groups
        self._run = run
        self._due: list[float] = []
        self._since = 0.0
        self._number = 0
        self._asked_at: dict[int, float] = {}
        self._next_at = 0.0
        self._answering: set[str] = set()

    def ask_all(self, silence: float = _UNKNOWN_SILENCE) -> None:
        """Ask for the numbers of all streams to the node's groups, after it received nothing for so many seconds."""
        now = asyncio.get_running_loop().time()
        since = now - silence - _BEFORE_SILENCE
        self._since = min(since, self._since) if self._due else since
        self._due = [now + after for after in _ASK_AFTER]

    def look(self, now: float) -> None:
        """Ask what is due to be asked by now."""
        if silence := self._liveness.take_silence():
            self.ask_all(silence)
        if self._due and now >= self._due[0]:
            del self._due[0]
            self._ask(self._groups(), now - self._since, now)
        elif now >= self._next_at and (others := len(self._directory)):
            self._next_at = now + beat_interval(others + 1) / _ASKS_PER_BEAT
            self._ask(self._traffic.take_unclear(_MOST_GROUPS), _UNKNOWN_SILENCE, now)

    def _ask(self, groups: Iterable[str], within: float, now: float) -> None:
        if not (named := list(groups)):
            return
        self._number += 1
        self._asked_at[self._number] = now
        self._asked_at.pop(self._number - _REMEMBERED, None)
        wanted = Wanted(self._group, self._number, named if len(named) <= _MOST_GROUPS else [], within)
        self._run(self._transport.send_control(control_group(), pack(wanted)))

    def receive_numbers(self, numbers: Numbers) -> None:
        """Process the last numbers that another node has announced, or sent as an answer.

        Raises:
            Malformed: they are wrong.
        """
        # A message that arrives after an own heartbeat was sent after it, but for the time that a send may take; and a
        # layer that keeps messages need not bring them in the order in which it took them.
        slack = _LONGEST_SEND + self._transport.expiry
        announced_after = self._liveness.returned_at - slack
        answered_after = self._asked_at.get(numbers.asked, -math.inf) - (slack if numbers.is_relayed else 0.0)
        self._traffic.receive_numbers(numbers, answered_after if numbers.asked else announced_after)

    def receive_request(self, wanted: Wanted) -> None:
        """Answer another node's request, unless an answer to that node is under way.

        Raises:
            Malformed: it is wrong.
        """
        if not wanted.answer_to.startswith(ask_group("")):
            raise Malformed(f"'answer_to' must be a group for answers, got {wanted.answer_to!r:.80}")
        if not all(isinstance(group, str) for group in wanted.groups):
            raise Malformed(f"'groups' must be names of groups, got {wanted.groups!r:.80}")
        if wanted.answer_to != self._group and wanted.answer_to not in self._answering:
            self._answering.add(wanted.answer_to)
            self._run(self._answer(wanted))

    async def _answer(self, wanted: Wanted) -> None:
        now = asyncio.get_running_loop().time()
        groups, since = frozenset(wanted.groups), now - wanted.within
        try:
            own = list(self._publisher.last_numbers(groups, since, now))
            await self._send(own, wanted, is_relayed=False)
            serving = self._directory.serving
            others = self._traffic.overheard.recall(groups, since, now, unchanged_for=_ANNOUNCED_WITHIN)
            relayed = [told for told in others if str(told.stream[1]).partition(".")[0] not in serving]
            await self._send(relayed, wanted, is_relayed=True)
        finally:
            self._answering.discard(wanted.answer_to)

    async def _send(self, told: list[Told], wanted: Wanted, *, is_relayed: bool) -> None:
        for start in range(0, len(told), _STREAMS_AT_ONCE):
            some = told[start : start + _STREAMS_AT_ONCE]
            streams, ages = [each.stream for each in some], [each.age for each in some]
            await self._transport.send_control(
                wanted.answer_to, pack(Numbers(streams, ages, asked=wanted.number, is_relayed=is_relayed))
            )
