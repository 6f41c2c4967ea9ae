"""A connection as its hub sees it, and the values that the rooms API returns about connections."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

from django_etp.protocol.frames import Event

__all__ = ["ConnectionInfo", "HasId", "Member", "RoomReply", "Serving", "check_id", "hub_of", "id_of", "ids", "is_hub"]

_HUB_ID = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, slots=True, init=False)
class ConnectionInfo:
    """Facts about a connection, for any process.

    Attributes:
        id: the connection's id.
        user_id: the primary key of its user; ``None`` for an anonymous one.
        rooms: the names of the rooms it is in, sorted.
        connected_at: when it connected, an aware datetime.
    """

    id: str
    user_id: Any
    rooms: tuple[str, ...]
    connected_at: datetime

    def __init__(self, id: str, user_id: Any, rooms: tuple[str, ...], connected_at: datetime) -> None:
        # A list of members makes thousands of them, and the method that dataclasses generate takes three times as long.
        _set_id(self, id)
        _set_user_id(self, user_id)
        _set_rooms(self, rooms)
        _set_connected_at(self, connected_at)


_set_id, _set_user_id, _set_rooms, _set_connected_at = (
    getattr(ConnectionInfo, each).__set__ for each in ("id", "user_id", "rooms", "connected_at")
)


@dataclass(frozen=True, slots=True)
class RoomReply:
    """The reply of one member of a room to an event.

    Attributes:
        connection_id: the member.
        status: ``"answered"``; ``"timed_out"``: it did not answer in time; ``"failed"``: it uses the extensions, and
            reported that the event failed there; ``"gone"``: it disconnected before it answered.
        event: the answer; ``None`` without one.
    """

    connection_id: str
    status: Literal["answered", "timed_out", "failed", "gone"]
    event: Event | None = None

    @property
    def is_answered(self) -> bool:
        """Whether the member answered."""
        return self.status == "answered"


class HasId(Protocol):
    """A connection, or facts about one, as the argument of a function that also takes the id."""

    @property
    def id(self) -> str:
        """The connection's id."""


class Member(Protocol):
    """A local connection, as its hub sees it."""

    id: str
    namespace: str

    @property
    def is_accepted(self) -> bool:
        """Whether it counts as a member yet."""

    @property
    def is_far_behind(self) -> bool:
        """Whether its client has so much to read that senders slow down."""

    def to_row(self) -> tuple[str, int | str | None, float]:
        """Return its id, its user's id, and when it connected, in seconds since 1970, as plain values."""

    def deliver(self, frame: str) -> None:
        """Send it an encoded frame. This never waits."""

    async def ask(self, event: str, data: object, timeout: float, room: str | None = None) -> Event:
        """Send it an event, maybe inside a room, and return the answer. See ``Connection.aemit_with_ack()``."""

    def read_data(self) -> str:
        """Return its data as JSON."""

    async def change_data(self, values: str, remove: Iterable[str]) -> str:
        """Set keys of its data to those in a JSON object, remove others, save it, and return it as JSON."""

    async def aclose(self, code: int = 1000, reason: str = "") -> None:
        """Close it."""


def check_id(connection_id: object) -> str:
    """Return a connection's id. Characters that UTF-8 cannot encode are replaced, since no id has any.

    They would fail the message to other processes, with all other events in it.

    Raises:
        TypeError: the value is not str; it may be the connection itself.
    """
    if not isinstance(connection_id, str):
        raise TypeError(
            f"A connection's id must be str, got {type(connection_id).__name__}: {connection_id!r:.80}. "
            "Pass the connection's .id."
        )
    return connection_id.encode(errors="replace").decode()


def hub_of(connection_id: str) -> str:
    """Return the id of the hub that a connection's id names."""
    return connection_id.partition(".")[0]


def is_hub(hub: str) -> bool:
    """Return whether a text may be the id of a hub. Other text may not even be valid in the name of a group."""
    return bool(_HUB_ID.fullmatch(hub))


def id_of(connection_or_id: "str | HasId") -> str:
    """Return the id of a connection, given as the connection or as its id. See check_id()."""
    return check_id(getattr(connection_or_id, "id", connection_or_id))


def ids(exclude: "Iterable[str | HasId] | str | HasId") -> frozenset[str]:
    """Return the connection ids in an ``exclude`` argument: one or several connections, or ids."""
    if isinstance(exclude, Iterable) and not isinstance(exclude, str):
        return frozenset(map(id_of, exclude))
    return frozenset([id_of(exclude)])


class Serving(Protocol):
    """The server's side of a hub; ``django_etp.server.serving`` sets it."""

    async def stop(self) -> None:
        """End the connections, within a bounded time."""
