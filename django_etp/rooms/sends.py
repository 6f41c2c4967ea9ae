"""Sends to the rooms of one namespace, and questions to their members, from any thread, event loop or process."""

from collections.abc import Iterable
from typing import TypeVar

from asgiref.sync import sync_to_async

from django_etp.concurrency.bridge import refuse_in_event_loop
from django_etp.hub.hub import Hub
from django_etp.hub.members import HasId, RoomReply, check_id, ids
from django_etp.hub.names import check_namespace, room_names
from django_etp.protocol.frames import Event
from django_etp.schemas.outgoing import EventName
from django_etp.serialization import to_frame

from .asking import AskConnection, AskRooms
from .calls import Calls
from .commits import emit_with_commit
from .emits import EmitOnCommit
from .warnings import warn_in_transaction

__all__ = ["Sends"]

_T = TypeVar("_T")
_Rooms = str | Iterable[str]
_Exclude = Iterable[str | HasId] | str | HasId
_Limit = float | None


class Sends:
    """The sending half of the rooms API."""

    def __init__(self, namespace: str) -> None:
        check_namespace(namespace)
        self.namespace = namespace
        calls = Calls(namespace)
        self._asend, self._send, self._aask, self._ask = calls.asend, calls.send, calls.aask, calls.ask

    async def aemit(
        self,
        room_or_rooms: _Rooms,
        event: EventName[_T],
        data: _T | None = None,
        *,
        exclude: _Exclude = (),
        timeout: _Limit = None,
    ) -> None:
        """Send an event to all members of one or several rooms, one copy to each.

        ``event`` is a name or an ``outgoing()`` event, whose type writes the data. Otherwise ``data`` is sent unchanged
        if it is str, else as JSON; ``None`` sends no data. ``exclude`` names connections, or their ids, that do not get
        the event. This never waits for a member. ``timeout`` is how long the channel layer may take to confirm, in
        seconds; by default up to 7. In ``DEBUG``, and under the testing kit, emit() warns with
        ``EmitInTransaction`` inside ``atomic()``.

        Raises:
            HistoryUnavailable: the history of a room could not be reached; no client gets the event there.
            InvalidEventName: the name cannot be an event's.
            InvalidPayload: the data cannot become JSON, or does not fit the type of the event.
            InvalidRoomName: a name is not a room name, or it is reserved and not from user(); nothing was sent.
            LayerUnavailable: the channel layer did not confirm; members in this process have the event already.
        """
        await self._asend(Hub.send, room_names(room_or_rooms), to_frame(event, data), ids(exclude), timeout=timeout)

    def emit(
        self,
        room_or_rooms: _Rooms,
        event: EventName[_T],
        data: _T | None = None,
        *,
        exclude: _Exclude = (),
        timeout: _Limit = None,
    ) -> None:
        """See aemit()."""
        warn_in_transaction()
        self._send("emit", Hub.send, room_names(room_or_rooms), to_frame(event, data), ids(exclude), timeout=timeout)

    async def aemit_on_commit(
        self,
        room_or_rooms: _Rooms,
        event: EventName[_T],
        data: _T | None = None,
        *,
        exclude: _Exclude = (),
        key: object = None,
        durable: bool = False,
        using: str | None = None,
    ) -> None:
        """Send an event when the outermost transaction commits; at once if there is none, as in async code.

        The events of a transaction are sent in order, as one batch. None is sent after a rollback, and those made after
        a savepoint vanish with a rollback to it. The batch is sent in the background, and the committing thread waits
        for it for 0.1 s at most. If the channel layer fails, that is logged and reported to ``on_error``. Async code
        has no transactions of Django, so aemit_on_commit() does the same as aemit(), or stores the event.

        Args:
            room_or_rooms: see aemit(), also for ``event``, ``data`` and ``exclude``.
            key: within a transaction the last event with the same rooms, name and key is sent, in its own place, and
                those before it are not. Keys are compared as text.
            durable: store the event in the transaction, and send it from there: it is not lost if a process or the
                broker fails. This needs the app ``django_etp.outbox``.
            using: the alias of the database with the transaction; by default ``"default"``.

        Raises:
            ImproperlyConfigured: ``durable``, and the app is not installed.
            InvalidEventName, InvalidPayload, InvalidRoomName: see aemit().
            LayerUnavailable: see aemit(); from aemit_on_commit() alone, without ``durable``.
        """
        emit = EmitOnCommit.create(self.namespace, room_or_rooms, event, data, exclude, key)
        if durable:
            await sync_to_async(emit.store)(using)
        else:
            await self._asend(Hub.send, list(emit.rooms), emit.frame, emit.exclude)

    def emit_on_commit(
        self,
        room_or_rooms: _Rooms,
        event: EventName[_T],
        data: _T | None = None,
        *,
        exclude: _Exclude = (),
        key: object = None,
        durable: bool = False,
        using: str | None = None,
    ) -> None:
        """See aemit_on_commit()."""
        refuse_in_event_loop("emit_on_commit")
        emit = EmitOnCommit.create(self.namespace, room_or_rooms, event, data, exclude, key)
        if durable:
            emit.store(using)
        elif emit.rooms:
            emit_with_commit(emit, using)

    async def abroadcast(
        self, event: EventName[_T], data: _T | None = None, *, exclude: _Exclude = (), timeout: _Limit = None
    ) -> None:
        """Send an event to all connections of the namespace. See aemit()."""
        await self._asend(Hub.send, None, to_frame(event, data), ids(exclude), timeout=timeout)

    def broadcast(
        self, event: EventName[_T], data: _T | None = None, *, exclude: _Exclude = (), timeout: _Limit = None
    ) -> None:
        """See abroadcast()."""
        self._send("broadcast", Hub.send, None, to_frame(event, data), ids(exclude), timeout=timeout)

    async def aemit_to(
        self, connection_id: str, event: EventName[_T], data: _T | None = None, *, timeout: _Limit = None
    ) -> None:
        """Send an event to one connection; does nothing if it is gone. See aemit()."""
        await self._asend(Hub.send_to, check_id(connection_id), to_frame(event, data), timeout=timeout)

    def emit_to(
        self, connection_id: str, event: EventName[_T], data: _T | None = None, *, timeout: _Limit = None
    ) -> None:
        """See aemit_to()."""
        self._send("emit_to", Hub.send_to, check_id(connection_id), to_frame(event, data), timeout=timeout)

    async def aemit_with_ack(
        self, room_or_rooms: _Rooms, event: EventName[_T], data: _T | None = None, *, timeout: float | None = None
    ) -> list[RoomReply]:
        """Send an event to all members of one or several rooms and return a reply for each.

        ``timeout`` is how long each member may take to answer, in seconds; by default the setting ``ACK_TIMEOUT``.

        Raises:
            IncompleteAnswer: a process did not reply; the replies from the others are in ``answer``.
            InvalidEventName, InvalidPayload, InvalidRoomName, LayerUnavailable: see aemit().
        """
        query = AskRooms.create(self.namespace, room_or_rooms, event, data, timeout)
        return await self._aask(query, query.limit)

    def emit_with_ack(
        self, room_or_rooms: _Rooms, event: EventName[_T], data: _T | None = None, *, timeout: float | None = None
    ) -> list[RoomReply]:
        """See aemit_with_ack()."""
        query = AskRooms.create(self.namespace, room_or_rooms, event, data, timeout)
        return self._ask("emit_with_ack", query, query.limit)

    async def aemit_to_with_ack(
        self, connection_id: str, event: EventName[_T], data: _T | None = None, *, timeout: float | None = None
    ) -> Event:
        """Send an event to one connection and return its answer.

        ``timeout`` is in seconds; by default it is the setting ``ACK_TIMEOUT``.

        Raises:
            AckTimeout: no answer came in time.
            ConnectionClosed: the connection is gone, or closed before the answer came.
            EventFailed: the client, which uses the extensions, reported that the event failed there.
            InvalidEventName, InvalidPayload: see aemit().
            LayerUnavailable: the query could not be sent to the connection's process.
        """
        query = AskConnection.create(self.namespace, connection_id, event, data, timeout)
        return await self._aask(query, query.limit)

    def emit_to_with_ack(
        self, connection_id: str, event: EventName[_T], data: _T | None = None, *, timeout: float | None = None
    ) -> Event:
        """See aemit_to_with_ack()."""
        query = AskConnection.create(self.namespace, connection_id, event, data, timeout)
        return self._ask("emit_to_with_ack", query, query.limit)
