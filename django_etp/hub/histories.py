"""The rooms with history of one hub: events on their way to the store, and from there to the members.

Rules kept here:

- An event to such a room goes to the store first, which gives it its position. Members in this process get it after
  that, as those in other processes do. So all see one order.
- Other processes get the event from the store itself, if that publishes what is appended, or else with its position
  from the channel layer. If one misses it, it reads it from the store.
- The trace of an emit goes with the event, or behind its position, so that the delivery belongs to it whenever it is.
- Without a room that has a history nothing is opened, and a send costs one call.
"""

import asyncio
import contextvars
import logging
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from django_etp.cluster import tracing
from django_etp.cluster.links import Link
from django_etp.cluster.messages import Frame
from django_etp.concurrency.bridge import loop_ended
from django_etp.concurrency.confirmations import Confirmation, settle_after
from django_etp.concurrency.tasks import end_tasks
from django_etp.exceptions import HistoryUnavailable, LayerUnavailable
from django_etp.history.appender import Appender
from django_etp.history.backends import open_store
from django_etp.history.limits import History
from django_etp.history.store import Appended, Entry, Follower, NewEvent, Position, Recovery, Store

from .delivery import deliver
from .feeds import Feed
from .members import Member
from .membership import Membership
from .names import group_name
from .pace import Pace
from .recoveries import Recoveries

__all__ = ["POSITIONED", "Histories"]

logger = logging.getLogger(__name__)

# The frames of rooms with history name their positions, behind this, as the name of their emission.
POSITIONED = "@"
# How often the positions of all rooms are compared with the store's, in seconds. A process may end between the two
# steps of an emit: the event is in the store then, and was not sent.
_COMPARE_EVERY = 5.0
# How long an event may be under way before it counts as missed, in seconds.
_UNDER_WAY = 0.5
_END_LIMIT = 1.0

# Returns how much a room of a namespace keeps, if it has a history; None before a room with history is declared.
limits_of: Callable[[str, str], History | None] | None = None


class _Room:
    """A room with history that has a member in this process."""

    __slots__ = ("feed", "recoveries")

    def __init__(self, feed: Feed, recoveries: Recoveries) -> None:
        self.feed = feed
        self.recoveries = recoveries


class Histories:
    """The rooms with history of one hub.

    Args:
        link: the hub's way to the others.
        membership: its connections.
        pace: slows senders down.
        run: runs a coroutine whatever becomes of its caller.
        lost: reports events of a room, by its group, that the store has lost.
    """

    def __init__(
        self,
        link: Link,
        membership: Membership,
        pace: Pace,
        run: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        lost: Callable[[str, int], None],
    ) -> None:
        self._link = link
        self._membership = membership
        self._pace = pace
        self._run = run
        self._lost = lost
        self._rooms: dict[str, _Room] = {}
        self._store: Store | None = None
        self._appender: Appender | None = None
        self._following: Follower | None = None
        self._comparing: asyncio.Task[None] | None = None
        self._slowed: list[Confirmation] = []

    @property
    def store(self) -> Store:
        """The store, which is opened now if it was not.

        Raises:
            ImproperlyConfigured: the settings are not valid.
        """
        if self._store is None:
            self._store = open_store()
            self._appender = Appender(self._store, self._run)
            self._following = self._store.follow(self._take, self._check_all)
        return self._store

    def limits(self, namespace: str, room: str) -> History | None:
        """Return how much a room keeps, if it has a history."""
        return limits_of(namespace, room) if limits_of is not None else None

    async def stop(self) -> None:
        """Append the events that wait, and close the store; within a bounded time."""
        store, appender, following = self._store, self._appender, self._following
        self._store = self._appender = self._following = None
        comparing, self._comparing = self._comparing, None
        if comparing is not None:
            await end_tasks([comparing], _END_LIMIT)
        if appender is not None:
            await appender.settle(_END_LIMIT)
        if following is not None:
            await following.close()
        if store is not None:
            await store.close()

    # Sending

    def send(
        self, namespace: str, rooms: Sequence[str], text: str, exclude: frozenset[str], emission: str = ""
    ) -> tuple[list[str], list[Confirmation]]:
        """Append an event to the histories of those of the rooms that have one, and deliver it there.

        Args:
            emission: a name that no other event has, if it may be sent again.

        Returns:
            The other rooms, and a confirmation for each room with history.

        Raises:
            HistoryUnavailable: too many events wait already.
        """
        others, confirmations = [], []
        for room in rooms:
            if (limits := self.limits(namespace, room)) is None:
                others.append(room)
            else:
                trace = "" if tracing.tracer is None else tracing.tracer.send(Frame(text))
                event = NewEvent(group_name(namespace, room), text, limits, exclude, emission, trace)
                confirmations.append(self._append(event))
        return others, confirmations

    def _append(self, event: NewEvent) -> Confirmation:
        self.store  # noqa: B018  (opens it)
        assert self._appender is not None
        confirmation = Confirmation()
        self._appender.append(event).add_done_callback(partial(self._appended, event, confirmation))
        return confirmation

    def _appended(self, event: NewEvent, confirmation: Confirmation, future: asyncio.Future[Appended]) -> None:
        error = None if future.cancelled() else future.exception()
        if future.cancelled() or error is not None:
            confirmation.settle(error if isinstance(error, Exception) else loop_ended())
            return
        entry = Entry(future.result().position, 0.0, event.text, event.exclude)
        waits = [] if self._following is not None else self._publish(event, entry.position)
        self._take(event.room, entry)
        waits += self._slowed
        self._slowed = []
        settle_after(confirmation, waits)

    def _publish(self, event: NewEvent, position: Position) -> list[Confirmation]:
        emission = f"{POSITIONED}{position} {event.trace}" if event.trace else f"{POSITIONED}{position}"
        publish = partial(self._link.publish, [event.room], Frame(event.text, event.exclude, emission=emission))
        try:
            # The send has its span already. Without the context of the caller no other one is recorded.
            return contextvars.Context().run(publish) if event.trace else publish()
        except LayerUnavailable as error:
            logger.info("An event is in the history, and other processes will read it there: %s", error)
            return []

    # Members

    async def begin(self, namespace: str, rooms: Iterable[str]) -> None:
        """Deliver the events of those of the rooms that have a history to their members here from now on.

        Raises:
            HistoryUnavailable: the store cannot be reached.
        """
        for room in rooms:
            group = group_name(namespace, room)
            # Who has left meanwhile would leave a room behind that nothing ends.
            if (limits := self.limits(namespace, room)) and self._membership.room_of(group):
                await self._begin(namespace, room, group, limits)

    async def _begin(self, namespace: str, room: str, group: str, limits: History) -> None:
        known = self._rooms.get(group)
        if known is None:
            feed = Feed(
                partial(self._deliver, namespace, room),
                lambda since: self.store.read_after(group, since, limits),
                partial(self._lost, group),
                self._run,
            )
            known = self._rooms[group] = _Room(feed, Recoveries(group, limits, lambda: self.store, self._run))
        self.store  # noqa: B018  (opens it)
        if self._following is not None:
            await self._following.add(group)
        elif self._comparing is None:
            self._comparing = asyncio.get_running_loop().create_task(self._compare(), context=contextvars.Context())
        await known.feed.begin()

    def end(self, groups: Iterable[str]) -> None:
        """Deliver no more events of rooms, by their groups, which have no member here any more."""
        for group in groups if self._rooms else ():
            if (known := self._rooms.pop(group, None)) is not None:
                known.feed.end()
                if self._following is not None:
                    self._following.discard(group)
        if not self._rooms and self._comparing is not None:
            self._comparing.cancel()
            self._comparing = None

    async def recover(self, namespace: str, room: str, since: object) -> Recovery:
        """Return what a member has missed who was at a position when it left, and the position from which it goes on.

        The member gets the later events from the feed, or holds them already.

        Raises:
            HistoryUnavailable: the store cannot be reached.
        """
        known = self._rooms.get(group_name(namespace, room))
        if known is None or (at := known.feed.position) is None:
            raise HistoryUnavailable(f"The connection has left the room {room[:80]!r} meanwhile.")
        found = Position.parse(since)
        if found is None or found.epoch != at.epoch:
            return Recovery(at, None)
        if found == at:
            return Recovery(at, [])
        end, missed = await known.recoveries.read(min(found, at))
        at = known.feed.position or at
        if missed is None or found > end:
            known.feed.check()
            return Recovery(at, None)
        for entry in missed if end > at else ():  # the others get them now, too: none comes once more behind the replay
            known.feed.take(entry)
        return Recovery(end, [entry for entry in missed if entry.position > found])

    def receive(self, group: str, frame: Frame) -> None:
        """Take an event from the channel layer, which has a position."""
        text, _, trace = frame.emission.removeprefix(POSITIONED).partition(" ")
        if (position := Position.parse(text)) is not None:
            self._take(group, Entry(position, 0.0, frame.text, frame.exclude, trace))

    def check(self, group: str) -> bool:
        """Read from the store what may be missing in a room; return whether that is possible."""
        known = self._rooms.get(group)
        if known is None:
            return False
        known.feed.check()
        return self.store.is_shared  # or else it lacks what other processes sent

    def _take(self, group: str, entry: Entry) -> None:
        if (known := self._rooms.get(group)) is not None:
            known.feed.take(entry)

    def _deliver(self, namespace: str, room: str, entry: Entry) -> None:
        if entry.trace and tracing.tracer is not None:
            to_members = partial(self._deliver_to_members, namespace, room, entry)
            tracing.tracer.deliver(entry.trace, Frame(entry.text), to_members)
        else:
            self._deliver_to_members(namespace, room, entry)

    def _deliver_to_members(self, namespace: str, room: str, entry: Entry) -> Sequence[Member]:
        members = deliver(self._membership, namespace, [room], entry.text, entry.exclude, entry.position)
        self._slowed += self._pace.slow(members, len(entry.text))
        return members

    def _check_all(self) -> None:
        for known in self._rooms.values():
            known.feed.check()

    async def _compare(self) -> None:
        while True:
            await asyncio.sleep(_COMPARE_EVERY)
            with suppress(HistoryUnavailable):
                positions = await self.store.positions(list(self._rooms))
                for group, position in positions.items():
                    known = self._rooms.get(group)
                    if known is not None and known.feed.position not in (None, position):
                        known.feed.check(_UNDER_WAY)
