"""What a hub and the rooms API know of a connection, and what they tell callers about one."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

from django_etp.protocol.frames import Event

__all__ = ["ConnectionInfo", "Member", "RoomReply", "check_id", "id_of", "ids"]


@dataclass(frozen=True, slots=True, init=False)
class ConnectionInfo:
    """What any process may know of a connection.

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
        # A list of members makes thousands, and what dataclasses generate takes three times as long.
        _set_id(self, id)
        _set_user_id(self, user_id)
        _set_rooms(self, rooms)
        _set_connected_at(self, connected_at)


_set_id, _set_user_id, _set_rooms, _set_connected_at = (
    getattr(ConnectionInfo, each).__set__ for each in ("id", "user_id", "rooms", "connected_at")
)


@dataclass(frozen=True, slots=True)
class RoomReply:
    """What became of a question to one member of a room.

    Attributes:
        connection_id: the member.
        status: ``"answered"``; ``"timed_out"``: it did not answer in time; ``"failed"``: it speaks the
            extensions, and says that the event failed there; ``"gone"``: it disconnected before it answered.
        event: the answer; ``None`` where there is none.
    """

    connection_id: str
    status: Literal["answered", "timed_out", "failed", "gone"]
    event: Event | None = None

    @property
    def is_answered(self) -> bool:
        """Whether the member answered."""
        return self.status == "answered"


class Member(Protocol):
    """A local connection, as its hub sees it."""

    id: str
    namespace: str

    @property
    def is_accepted(self) -> bool:
        """Whether it counts as a member yet."""

    def to_row(self) -> tuple[str, int | str | None, float]:
        """Return what it tells about itself, as plain values: id, user, and when it connected, in s since 1970."""

    def deliver(self, frame: str) -> None:
        """Send it a ready-made frame; never waits."""

    async def ask(self, event: str, data: object, timeout: float) -> Event:
        """Ask it a question and return the answer. See ``Connection.aemit_with_ack()``."""

    def read_data(self) -> str:
        """Return its data as JSON."""

    async def change_data(self, values: str, remove: Iterable[str]) -> str:
        """Set keys of its data to those in a JSON object, remove others, save it, and return it as JSON."""

    async def aclose(self, code: int = 1000, reason: str = "") -> None:
        """Close it."""


def check_id(connection_id: object) -> str:
    """Return a connection's id, which is text; what cannot be UTF-8 names nobody, and is returned without that.

    It would fail the message to other processes, and with it the events of others that travel in there.

    Raises:
        TypeError: it is something else, such as the connection itself.
    """
    if not isinstance(connection_id, str):
        raise TypeError(
            f"A connection's id must be str, got {type(connection_id).__name__}: {connection_id!r:.80}. "
            "Pass the connection's .id."
        )
    return connection_id.encode(errors="replace").decode()


def id_of(connection_or_id: "str | Member") -> str:
    """Return the id of a connection that callers pass as such, or by its id. See check_id()."""
    return check_id(getattr(connection_or_id, "id", connection_or_id))


def ids(exclude: "Iterable[str | Member] | str | Member") -> frozenset[str]:
    """Return the connection ids of what callers pass as ``exclude``: ids or connections, one or several."""
    if isinstance(exclude, Iterable) and not isinstance(exclude, str):
        return frozenset(map(id_of, exclude))
    return frozenset([id_of(exclude)])
