"""The rooms API: the rooms of one namespace, from any thread, event loop or process."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from django_etp.hub.members import ConnectionInfo, HasId, RoomReply, check_id, id_of
from django_etp.hub.names import UserRoom, room_name, room_names, user_room
from django_etp.hub.names import group_name as _group_name

from . import queries
from .data import ChangeData, ReadData
from .histories import RoomHistories
from .presence import PresenceCalls
from .removal import Recheck, leaving
from .sends import Sends
from .users import identity

__all__ = ["ConnectionInfo", "RoomReply", "Rooms", "of"]

_Limit = float | None


class Rooms(Sends, PresenceCalls, RoomHistories):
    """The rooms of one namespace."""

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

    # Membership

    async def ajoin(self, connection_or_id: str | HasId, *rooms: str, timeout: float | None = None) -> None:
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

    def join(self, connection_or_id: str | HasId, *rooms: str, timeout: float | None = None) -> None:
        """See ajoin()."""
        self._ask("join", queries.JoinRooms(self.namespace, id_of(connection_or_id), rooms), timeout)

    async def aleave(
        self, connection_or_id: str | HasId | None = None, *rooms: str, user: Any = None, timeout: float | None = None
    ) -> None:
        """Take a connection out of rooms; it need not be in them. See ajoin().

        With ``user``, one of Django's users or the user's primary key, all arguments are rooms: all connections of the
        user leave them, in all processes. Without rooms they leave all rooms. A connection that is inside its
        ``on_connect`` hooks cannot join these rooms until the hooks have ended. See amembers() for the exceptions.
        """
        await self._aask(leaving(self.namespace, connection_or_id, rooms, user), timeout)

    def leave(
        self, connection_or_id: str | HasId | None = None, *rooms: str, user: Any = None, timeout: float | None = None
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

    def disconnect(self, connection_id: str, code: int = 1000, reason: str = "", *, timeout: _Limit = None) -> None:
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
    """Return the rooms of a namespace; raise ``TypeError`` if its name is not str."""
    return Rooms(namespace)
