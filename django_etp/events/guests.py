"""One connection in one declared room, from its client's wish to join until the end of its membership.

Rules kept here:

- Joins of one room by one connection, and the function of ``on_leave`` after them, run one after the other.
- The end happens once, for any reason. A client that was inside, and did not ask for the end, gets ``__left``, and
  nothing of the room after it.
- The function of ``on_leave`` runs once for each membership whose join handler has succeeded.
"""

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from django_etp.cancellation import must_pass
from django_etp.conf import get_settings
from django_etp.connections.connection import Connection
from django_etp.connections.peer import Peer
from django_etp.connections.scope import identity_of
from django_etp.exceptions import EventFailed
from django_etp.history.store import Position, Recovery
from django_etp.hub.hub import Hub
from django_etp.protocol.rooms import encode_left, in_room

from .access import call_limited, is_djangos_user
from .declared import DeclaredRoom
from .handlers import run_reporting
from .streams import end_streams

__all__ = ["Report", "RoomGuest", "end_guests"]

_T = TypeVar("_T")
# Reports an error of the connection, and what failed. See Dispatcher.report().
Report = Callable[[BaseException, str], Coroutine[Any, Any, None]]

_MOST_HELD = 10_000  # frames that wait for the answer to a join

_REMOVED = EventFailed("removed", "The server took this connection out of the room.")
_LEFT = EventFailed("left", "The client left the room before the answer came.")
_FLOODED = EventFailed("handler_error", "Too many events came while the join handler ran.")

# By the id of the connection and the name of the room; they live as long as something uses them.
_locks: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()
_leaving: WeakValueDictionary[tuple[str, str], asyncio.Task[None]] = WeakValueDictionary()


class RoomGuest:
    """One connection in one declared room.

    Attributes:
        room: the kind of room.
        name: the name of the room.
        parameters: the parameters in the name.
        peer: the connection.
        is_inside: whether a join was answered.
        ended: why the membership, or the join, has ended; ``None`` before that.
    """

    __slots__ = (
        "_connection",
        "_context",
        "_held",
        "_held_size",
        "_is_handled",
        "_lock",
        "_recovery",
        "_report",
        "_was_member",
        "ended",
        "is_inside",
        "name",
        "parameters",
        "peer",
        "room",
    )

    def __init__(
        self,
        room: DeclaredRoom,
        name: str,
        parameters: dict[str, Any],
        peer: Peer,
        connection: Connection,
        report: Report,
    ) -> None:
        self.room = room
        self.name = name
        self.parameters = parameters
        self.peer = peer
        self.is_inside = False
        self.ended: EventFailed | None = None
        self._connection = connection
        self._report = report
        self._context = contextvars.copy_context()
        self._held: list[tuple[str, Position | None]] | None = None
        self._recovery: Recovery | None = None
        self._held_size = 0
        self._is_handled = False
        self._was_member = peer.hub.membership.has_joined(peer.id, name)
        self._lock = _locks.setdefault((peer.id, name), asyncio.Lock())
        peer.hub.membership.guests.add(self)

    @property
    def id(self) -> str:
        """See Guest."""
        return self.peer.id

    @property
    def key(self) -> tuple[str, str]:
        """See Guest."""
        return self.peer.namespace, self.name

    @property
    def is_waiting(self) -> bool:
        """See Guest."""
        return self._held is not None and not self.is_inside

    @property
    def person(self) -> str:
        """The user, or else the connection, whose rights count."""
        return str(identity_of(self.peer.scope, self.peer.user_id)) if is_djangos_user(self.peer) else self.peer.id

    def run(self, coroutine: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        """Run a coroutine in the context of the connection, even if the task that asks for it is cancelled."""
        return self._context.copy().run(self.peer.hub.run, coroutine)

    # Joining

    async def begin_turn(self) -> None:
        """Wait for the joins before this one, and for the functions of ``on_leave`` of earlier memberships."""
        await self._lock.acquire()
        while (leaving := _leaving.get((self.peer.id, self.name))) is not None and not leaving.done():
            self._lock.release()
            await asyncio.wait([leaving])
            await self._lock.acquire()

    def end_turn(self) -> None:
        """Let the next join begin."""
        self._lock.release()

    def refuse_ended(self) -> None:
        """Raise the reason of the end, if it has ended."""
        if self.ended is not None:
            raise EventFailed(self.ended.code, self.ended.message)

    async def enter(self) -> None:
        """Make the connection a member, for which the events of the room are held until release().

        Raises:
            ConnectionClosed, HistoryUnavailable, TooManyRooms: see Peer.join().
        """
        if self.is_inside or not self._was_member or self.room.history is not None:
            self._held, self._held_size = [], 0
            self.peer.hub.membership.guests.wait(self)
        await self.peer.join((self.name,))

    async def recover(self, since: object) -> dict[str, Any]:
        """Return what a room with history adds to the answer, for a client that was at a position.

        Raises:
            HistoryUnavailable: the history cannot be reached.
        """
        self._recovery = await self.peer.hub.histories.recover(*self.key, since)
        position, missed = self._recovery
        return {"position": str(position), "recovered": missed is not None}

    def hold(self, frame: str, position: Position | None = None) -> None:
        """See Guest."""
        if self._held is None:
            return
        self._held.append((frame, position))
        self._held_size += len(frame)
        if len(self._held) > _MOST_HELD or self._held_size > get_settings().max_outbox:
            self.end(_FLOODED)
            self.run(self._take_out())

    def record_handled(self) -> None:
        """Record that the join handler has succeeded. Raise the reason of the end, if it has ended meanwhile."""
        if not self._is_handled:
            self._is_handled = True
            if self.ended is not None:
                self._begin_on_leave()
        self.refuse_ended()

    def release(self) -> None:
        """Deliver the events that were missed, then those that were held; call it behind the answer to a join."""
        if self.ended is not None or self.peer.disconnect is not None:
            return
        held, self._held = self._held or (), None
        end, missed = self._recovery or (None, None)
        self._recovery = None
        self.peer.hub.membership.guests.enter(self)
        for entry in missed or ():
            if self.id not in entry.exclude:
                self.peer.deliver(in_room(self.name, entry.text, entry.position))
        for frame, position in held:
            if position is None or end is None or position.epoch != end.epoch or position.number > end.number:
                self.peer.deliver(frame)

    # The end

    def end(self, reason: EventFailed = _REMOVED, *, is_asked_for: bool = False) -> None:
        """Record the end. The caller takes the connection out of the room, before anything else happens.

        Args:
            reason: the reason that the client gets with ``__left``, or as the answer to its join.
            is_asked_for: whether the client asked for the end, or is gone; there is no ``__left`` then.
        """
        if self.ended is not None:
            return
        self.ended = reason
        held, self._held = self._held or (), None
        if self._was_member and not self.is_inside:  # it stays in the room, outside of the declared one
            for frame, _ in held:
                self.peer.deliver(frame.split(" ", 2)[2])
        self.peer.hub.membership.guests.remove(self)
        end_streams(self.peer, self.name, reason)
        if self.is_inside and not is_asked_for:
            self.peer.deliver(encode_left(self.name, str(reason.code), str(reason.message)))
        if self.is_inside and self.room.has_presence and (presence := self.peer.hub.presence) is not None:
            presence.leave(self.id, self.key, is_gone=self.peer.disconnect is not None)
        if self._is_handled:
            self._begin_on_leave()

    async def put_out(self, reason: EventFailed) -> None:
        """Take the connection out of the room, unless that has been done."""
        if self.ended is None:
            self.end(reason)
            await self._take_out()

    async def leave(self) -> None:
        """Leave the room, as the client has asked."""
        if self.ended is None:
            self.end(_LEFT, is_asked_for=True)
            await self._take_out()

    async def _take_out(self) -> None:
        # A join that was not answered changes nothing for a connection that the application has put into the room.
        if self.is_inside or not self._was_member:
            await self.peer.hub.leave(self.peer, [self.name])

    def _begin_on_leave(self) -> None:
        if self.room.leave_handler is not None:
            _leaving[self.peer.id, self.name] = self.run(self._run_on_leave())

    async def _run_on_leave(self) -> None:
        assert self.room.leave_handler is not None
        handler = self.room.leave_handler.with_parameters(self.parameters)
        async with self._lock:
            try:
                await call_limited(handler, run_reporting, self._connection)
                if self.peer.has_unsaved and self.peer.disconnect is None:
                    await self.peer.save()
            except BaseException as error:
                if must_pass(error):
                    raise
                await self._report(error, f"the on_leave function {handler.place}")


async def end_guests(hub: Hub, connection_id: str) -> None:
    """End all guests of a connection that has ended, and wait for their functions of ``on_leave``."""
    guests = [guest for guest in hub.membership.guests.of(connection_id) if isinstance(guest, RoomGuest)]
    for guest in guests:
        guest.end(is_asked_for=True)
    if tasks := [task for guest in guests if (task := _leaving.get((connection_id, guest.name)))]:
        await asyncio.wait(tasks)
