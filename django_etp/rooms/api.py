"""The rooms API: the rooms of one namespace, from any thread, event loop or process."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from asgiref.sync import sync_to_async

from django_etp.concurrency.bridge import refuse_in_event_loop
from django_etp.hub.hub import Hub
from django_etp.hub.members import ConnectionInfo, Member, RoomReply, check_id, id_of, ids
from django_etp.hub.names import UserRoom, check_namespace, room_name, room_names, user_room
from django_etp.hub.names import group_name as _group_name
from django_etp.protocol.frames import Event
from django_etp.serialization import to_frame

from . import queries
from .asking import AskConnection, AskRooms
from .calls import Calls
from .commits import emit_with_commit
from .data import ChangeData, ReadData
from .emits import EmitOnCommit
from .histories import RoomHistories
from .removal import Recheck, leaving
from .users import identity
from .warnings import warn_in_transaction

__all__ = ["ConnectionInfo", "RoomReply", "Rooms", "of"]

_Rooms = str | Iterable[str]
_Exclude = Iterable[str | Member] | str | Member


class Rooms(RoomHistories):
    """The rooms of one namespace."""

    def __init__(self, namespace: str) -> None:
        check_namespace(namespace)
        self.namespace = namespace
        super().__init__(calls := Calls(namespace))
        self._asend, self._send, self._aask, self._ask = calls.asend, calls.send, calls.aask, calls.ask

    def __repr__(self) -> str:
        return f"<Rooms of namespace {self.namespace!r}>"

    def group_name(self, room: str) -> str:
        """Return the channel-layer group of a room, for other Channels code that sends to it.

        Such a message is ``{"type": "etp.emit", "room": room, "event": name, "data": data}``, with a
        ``"namespace"`` if that is not ``"default"``.

        Raises:
            InvalidRoomName: the room name is not text of at most 1,000 characters, or it is reserved.
        """
        return _group_name(self.namespace, room_name(room))

    def user(self, user: Any) -> str:
        """Return the room that all connections of a user are in, on all devices and in all processes.

        ``user`` is one of Django's users, or the user's primary key. If tenants have users of their own, a key is that
        of a user of the current tenant.

        Such a room cannot be joined or left by name. Pass the returned value itself to other calls: its name as plain
        ``str``, as from JSON or from a client, is refused.

        Raises:
            InvalidRoomName: the user is anonymous, or not saved yet.
        """
        return UserRoom(user_room(identity(user)))

    # Sending

    async def aemit(self, room_or_rooms: _Rooms, event: str, data: object = None, *, exclude: _Exclude = ()) -> None:
        """Send an event to all members of one or several rooms, one copy to each.

        ``data`` is sent unchanged if it is str, else as JSON; ``None`` sends no data. ``exclude`` names connections, or
        their ids, that do not get the event. This never waits for a member. In ``DEBUG``, and under the testing kit,
        emit() warns with ``EmitInTransaction`` inside ``atomic()``.

        Raises:
            InvalidEventName: the name cannot be an event's.
            InvalidPayload: the data cannot become JSON.
            InvalidRoomName: a name is not a room name, or it is reserved and not from user(); nothing was sent.
            LayerUnavailable: the channel layer did not confirm; members in this process have the event already.
        """
        await self._asend(Hub.send, room_names(room_or_rooms), to_frame(event, data), ids(exclude))

    def emit(self, room_or_rooms: _Rooms, event: str, data: object = None, *, exclude: _Exclude = ()) -> None:
        """See aemit()."""
        warn_in_transaction()
        self._send("emit", Hub.send, room_names(room_or_rooms), to_frame(event, data), ids(exclude))

    async def aemit_on_commit(
        self,
        room_or_rooms: _Rooms,
        event: str,
        data: object = None,
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
        event: str,
        data: object = None,
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

    async def abroadcast(self, event: str, data: object = None, *, exclude: _Exclude = ()) -> None:
        """Send an event to all connections of the namespace. See aemit()."""
        await self._asend(Hub.send, None, to_frame(event, data), ids(exclude))

    def broadcast(self, event: str, data: object = None, *, exclude: _Exclude = ()) -> None:
        """See abroadcast()."""
        self._send("broadcast", Hub.send, None, to_frame(event, data), ids(exclude))

    async def aemit_to(self, connection_id: str, event: str, data: object = None) -> None:
        """Send an event to one connection; does nothing if it is gone. See aemit()."""
        await self._asend(Hub.send_to, check_id(connection_id), to_frame(event, data))

    def emit_to(self, connection_id: str, event: str, data: object = None) -> None:
        """See aemit_to()."""
        self._send("emit_to", Hub.send_to, check_id(connection_id), to_frame(event, data))

    async def aemit_with_ack(
        self, room_or_rooms: _Rooms, event: str, data: object = None, *, timeout: float | None = None
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
        self, room_or_rooms: _Rooms, event: str, data: object = None, *, timeout: float | None = None
    ) -> list[RoomReply]:
        """See aemit_with_ack()."""
        query = AskRooms.create(self.namespace, room_or_rooms, event, data, timeout)
        return self._ask("emit_with_ack", query, query.limit)

    async def aemit_to_with_ack(
        self, connection_id: str, event: str, data: object = None, *, timeout: float | None = None
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
        self, connection_id: str, event: str, data: object = None, *, timeout: float | None = None
    ) -> Event:
        """See aemit_to_with_ack()."""
        query = AskConnection.create(self.namespace, connection_id, event, data, timeout)
        return self._ask("emit_to_with_ack", query, query.limit)

    # Membership

    async def ajoin(self, connection_or_id: str | Member, *rooms: str, timeout: float | None = None) -> None:
        """Put a connection into rooms.

        ``timeout`` is how long its process may take, in seconds; by default the setting ``QUESTION_TIMEOUT``.

        Raises:
            ConnectionClosed: the connection is gone.
            IncompleteAnswer: its process did not reply in time.
            InvalidRoomName: a name is not a room name, or it is reserved; nothing was joined.
            LayerUnavailable: the query could not be sent to its process.
            TooManyRooms: it would be in more rooms than the setting ``MAX_ROOMS`` allows; nothing was joined.
        """
        await self._aask(queries.JoinRooms(self.namespace, id_of(connection_or_id), rooms), timeout)

    def join(self, connection_or_id: str | Member, *rooms: str, timeout: float | None = None) -> None:
        """See ajoin()."""
        self._ask("join", queries.JoinRooms(self.namespace, id_of(connection_or_id), rooms), timeout)

    async def aleave(
        self, connection_or_id: str | Member | None = None, *rooms: str, user: Any = None, timeout: float | None = None
    ) -> None:
        """Take a connection out of rooms; it need not be in them. See ajoin().

        With ``user``, one of Django's users or the user's primary key, all arguments are rooms: all connections of the
        user leave them, in all processes. Without rooms they leave all rooms. A connection that is inside its
        ``on_connect`` hooks cannot join these rooms until the hooks have ended. See amembers() for the exceptions.
        """
        await self._aask(leaving(self.namespace, connection_or_id, rooms, user), timeout)

    def leave(
        self, connection_or_id: str | Member | None = None, *rooms: str, user: Any = None, timeout: float | None = None
    ) -> None:
        """See aleave()."""
        self._ask("leave", leaving(self.namespace, connection_or_id, rooms, user), timeout)

    async def arecheck(self, *, user: Any = None, room: str | None = None) -> None:
        """Check again who may be in declared rooms: the rooms of a user, or one room, or all of the namespace.

        ``user`` is one of Django's users, or the user's primary key. A connection that no longer passes the rules of
        its room is taken out, in all processes, and its client gets the reason. Only connections whose clients joined
        are checked. Checks that take long go on after the call has returned.

        Raises:
            IncompleteAnswer, InvalidRoomName, LayerUnavailable: see amembers().
        """
        await self._aask(Recheck.create(self.namespace, user, room), None)

    def recheck(self, *, user: Any = None, room: str | None = None) -> None:
        """See arecheck()."""
        self._ask("recheck", Recheck.create(self.namespace, user, room), None)

    async def aclear(self, *rooms: str, timeout: float | None = None) -> None:
        """Take all members out of rooms. See amembers() for ``timeout`` and the exceptions."""
        await self._aask(queries.ClearRooms(self.namespace, tuple(room_names(rooms))), timeout)

    def clear(self, *rooms: str, timeout: float | None = None) -> None:
        """See aclear()."""
        self._ask("clear", queries.ClearRooms(self.namespace, tuple(room_names(rooms))), timeout)

    # Members

    async def acount(self, room: str, *, timeout: float | None = None) -> int:
        """Return how many connections are in a room. See amembers() for ``timeout`` and the exceptions."""
        return await self._aask(queries.CountMembers(self.namespace, room_name(room)), timeout)

    def count(self, room: str, *, timeout: float | None = None) -> int:
        """See acount()."""
        return self._ask("count", queries.CountMembers(self.namespace, room_name(room)), timeout)

    async def anames(self, *, timeout: float | None = None) -> list[str]:
        """Return the names of all rooms that have a member, sorted. See amembers()."""
        return await self._aask(queries.ListRooms(self.namespace), timeout)

    def names(self, *, timeout: float | None = None) -> list[str]:
        """See anames()."""
        return self._ask("names", queries.ListRooms(self.namespace), timeout)

    async def amembers(self, room: str, *, timeout: float | None = None) -> list[ConnectionInfo]:
        """Return the connections in a room.

        ``timeout`` is how long the processes may take, in seconds; by default the setting ``QUESTION_TIMEOUT``.

        Raises:
            IncompleteAnswer: a process did not reply in time; ``answer`` holds the members in the others.
            InvalidRoomName: the name is not a room name, or it is reserved and not from user().
            LayerUnavailable: the query could not be sent to the other processes.
        """
        return await self._aask(queries.ListMembers(self.namespace, room_name(room)), timeout)

    def members(self, room: str, *, timeout: float | None = None) -> list[ConnectionInfo]:
        """See amembers()."""
        return self._ask("members", queries.ListMembers(self.namespace, room_name(room)), timeout)

    async def aconnections(self, *, timeout: float | None = None) -> list[ConnectionInfo]:
        """Return all connections of the namespace. See amembers()."""
        return await self._aask(queries.ListMembers(self.namespace, None), timeout)

    def connections(self, *, timeout: float | None = None) -> list[ConnectionInfo]:
        """See aconnections()."""
        return self._ask("connections", queries.ListMembers(self.namespace, None), timeout)

    async def aconnection_ids(self, *, timeout: float | None = None) -> list[str]:
        """Return the ids of the connections of all namespaces. See amembers()."""
        return await self._aask(queries.ListIds(self.namespace), timeout)

    def connection_ids(self, *, timeout: float | None = None) -> list[str]:
        """See aconnection_ids()."""
        return self._ask("connection_ids", queries.ListIds(self.namespace), timeout)

    async def aget(self, connection_id: str, *, timeout: float | None = None) -> ConnectionInfo | None:
        """Return what is known of a connection; ``None`` if it is gone. See amembers()."""
        return await self._aask(queries.GetConnection(self.namespace, check_id(connection_id)), timeout)

    def get(self, connection_id: str, *, timeout: float | None = None) -> ConnectionInfo | None:
        """See aget()."""
        return self._ask("get", queries.GetConnection(self.namespace, check_id(connection_id)), timeout)

    # Data

    async def adata(self, connection_id: str, *, timeout: float | None = None) -> dict[str, Any]:
        """Return a copy of a connection's data, as it is in the connection's process.

        Raises:
            ConnectionClosed: the connection is gone.
            IncompleteAnswer, LayerUnavailable: see ajoin().
        """
        return await self._aask(ReadData(self.namespace, check_id(connection_id)), timeout)

    def data(self, connection_id: str, *, timeout: float | None = None) -> dict[str, Any]:
        """See adata()."""
        return self._ask("data", ReadData(self.namespace, check_id(connection_id)), timeout)

    async def aupdate_data(
        self, connection_id: str, values: Mapping[str, Any], *, remove: Iterable[str] = (), timeout: float | None = None
    ) -> dict[str, Any]:
        """Set keys of a connection's data and remove others, save the data, and return a copy of it.

        Raises:
            ConnectionClosed: the connection is gone.
            TypeError: a key is not str, or JSON cannot hold a value; nothing was changed.
            DataTooLarge: the data would exceed ``MAX_DATA_SIZE``; nothing was changed. If another process holds the
                connection, and the values alone are small enough, this is the text of an ``IncompleteAnswer``.
            IncompleteAnswer, LayerUnavailable: see ajoin().
        """
        return await self._aask(ChangeData.create(self.namespace, connection_id, values, remove), timeout)

    def update_data(
        self, connection_id: str, values: Mapping[str, Any], *, remove: Iterable[str] = (), timeout: float | None = None
    ) -> dict[str, Any]:
        """See aupdate_data()."""
        return self._ask("update_data", ChangeData.create(self.namespace, connection_id, values, remove), timeout)

    # Closing

    async def adisconnect(
        self, connection_id: str, code: int = 1000, reason: str = "", *, timeout: float | None = None
    ) -> None:
        """Close a connection.

        Raises:
            ConnectionClosed: it is closed already.
            InvalidCloseCode: RFC 6455 does not let an endpoint send this code, or the reason is over 123 bytes.
            IncompleteAnswer, LayerUnavailable: see ajoin().
        """
        await self._aask(queries.CloseConnection(self.namespace, check_id(connection_id), code, reason), timeout)

    def disconnect(
        self, connection_id: str, code: int = 1000, reason: str = "", *, timeout: float | None = None
    ) -> None:
        """See adisconnect()."""
        self._ask("disconnect", queries.CloseConnection(self.namespace, check_id(connection_id), code, reason), timeout)

    async def ashutdown(self, code: int = 1001, reason: str = "", *, timeout: float | None = None) -> None:
        """Close all connections of the namespace. See adisconnect() and amembers() for the exceptions."""
        await self._aask(queries.CloseAll(self.namespace, code, reason), timeout)

    def shutdown(self, code: int = 1001, reason: str = "", *, timeout: float | None = None) -> None:
        """See ashutdown()."""
        self._ask("shutdown", queries.CloseAll(self.namespace, code, reason), timeout)


@lru_cache(maxsize=1024)  # a namespace's name may be that of a tenant, or come from data
def of(namespace: str) -> Rooms:
    """Return the rooms of a namespace.

    Raises:
        TypeError: the name is not str.
    """
    return Rooms(namespace)
