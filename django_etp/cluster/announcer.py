"""Announce the last numbers of streams to all nodes, so that receivers notice messages missing at a stream's end.

Rules kept here:

- The last number of a stream that went quiet is announced several times; that of a stream that never goes quiet, every
  2 s: a receiver may have missed all of it.
- Each is announced at least once. If many streams went quiet at once, they are announced once only.
- The cost of a round grows with the streams that are due, not with all of them. One message holds at most 500 numbers;
  the others follow in the next, those first that were due first.
- A message that the layer did not take is sent again, until it takes it.
- What is to be announced is bounded: past 50,000 streams nothing may be sent, since the layer takes no announcements,
  or takes them more slowly than streams begin.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping
from typing import Any

from django_etp.concurrency.tasks import end_tasks

from .lanes import ANNOUNCE_AFTER, Lane
from .messages import Numbers, pack
from .schedule import Schedule

__all__ = ["Announcer"]

logger = logging.getLogger(__name__)

_SEND_LIMIT = 3.0
_END_LIMIT = 1.0
_EVERY = 0.1
_AT_ONCE = 500
# Past this many streams no announcement is repeated.
_MOST_REPEATED = 10_000
_MOST = 50_000
# The time between two rounds, in seconds, while more streams than that are to be announced, and the layer takes them.
_EVERY_IF_MANY = 0.01


class Announcer:
    """The announcements of one publisher.

    Args:
        lanes: the publisher's lanes by their groups; one that is still to be announced stays there.
        send_to_all: sends a message to all nodes.
        announced: is called with the group of each lane that needs no more announcements.

    Attributes:
        is_full: too many streams are to be announced.
    """

    def __init__(
        self,
        lanes: Mapping[str, Lane],
        send_to_all: Callable[[dict[str, Any]], Coroutine[Any, Any, None]],
        announced: Callable[[str], None],
    ) -> None:
        self._lanes = lanes
        self._send_to_all = send_to_all
        self._announced = announced
        self._due = Schedule()
        self.is_full = False
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._due)

    def __iter__(self) -> Iterator[str]:
        return iter(self._due)

    def add(self, group: str, lane: Lane, now: float) -> None:
        """Announce the last number of a lane when it is due; start() must follow."""
        self._watch(group, lane, now)
        self.is_full = len(self._due) >= _MOST

    def start(self) -> None:
        """Begin the periodic work, unless it goes on already, or there is none."""
        if len(self._due) and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._announce_while_needed())

    async def stop(self) -> None:
        """End the periodic work, within a bounded time."""
        if self._task is not None:
            task, self._task = self._task, None
            await end_tasks([task], _END_LIMIT)
        for group in self._due:
            self._lanes[group].is_watched = False

    async def announce(self, groups: Collection[str]) -> bool:
        """Announce the last numbers of some lanes now; return whether the layer took all of them."""
        waiting = list(groups)
        taken = [await self._send(waiting[at : at + _AT_ONCE]) for at in range(0, len(waiting), _AT_ONCE)]
        return all(taken)

    async def _announce_while_needed(self) -> None:
        pause = _EVERY
        while len(self._due):
            await asyncio.sleep(pause)
            due = self._take_due(asyncio.get_running_loop().time())
            is_taken = bool(due) and await self.announce(due)
            pause = _EVERY_IF_MANY if is_taken and len(self._due) > _MOST_REPEATED else _EVERY

    def _take_due(self, now: float) -> list[str]:
        due: list[str] = []
        while len(due) < _AT_ONCE and (group := self._due.take(now)) is not None:
            lane = self._lanes[group]
            lane.is_watched = False
            if lane.due_at(now) <= now:
                due.append(group)
            else:  # it was sent to meanwhile
                self._watch(group, lane, now)
        return due

    async def _send(self, groups: Collection[str]) -> bool:
        lanes = [(group, lane, lane.last) for group in groups if (lane := self._lanes.get(group))]
        now = asyncio.get_running_loop().time()
        told = [lane.told(group, now) for group, lane, _ in lanes]
        is_taken = False
        try:
            async with asyncio.timeout(_SEND_LIMIT):
                await self._send_to_all(pack(Numbers([each.stream for each in told], [each.age for each in told])))
            is_taken = True
        except Exception as error:  # they are announced again with the next turn
            logger.debug("The last numbers could not be announced: %r", error)
        finally:
            now = asyncio.get_running_loop().time()
            for group, lane, last in lanes:
                if is_taken:
                    self._record(group, lane, last, now)
                else:
                    # Not confirmed: receivers that missed it must get it often enough once the layer is back.
                    lane.sent_at, lane.announcements, lane.unannounced_since = now, 0, now
                    self._watch(group, lane, now)
            self.is_full = len(self._due) >= _MOST
        return is_taken

    def _record(self, group: str, lane: Lane, last: tuple[int, int], now: float) -> None:
        lane.announced, lane.unannounced_since = last[0], now
        if last == lane.last and not lane.is_sending and self._lanes.get(group) is lane:
            lane.announcements += 1
            if lane.announcements >= len(ANNOUNCE_AFTER) or len(self._due) > _MOST_REPEATED:
                self._due.remove(group)
                lane.is_watched = False
                self._announced(group)
                return
        self._watch(group, lane, now)

    def _watch(self, group: str, lane: Lane, now: float) -> None:
        self._due.add(group, lane.due_at(now))
        lane.is_watched = not lane.announcements
