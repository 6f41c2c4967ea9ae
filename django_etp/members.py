"""What a hub and the rooms API know of a connection, and what they tell callers about one."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

from .protocol import Event

__all__ = ["ConnectionInfo", "Member", "RoomReply"]


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
class RoomReply:
    """What became of a question to one member of a room.

    Attributes:
        connection_id: the member.
        status: ``"answered"``; ``"timed_out"``: it did not answer in time; ``"failed"``: its connection failed;
            ``"gone"``: it disconnected before it answered.
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

    def tell(self) -> list[Any]:
        """Return what it tells about itself, as plain values, which read_info() reads."""

    def deliver(self, frame: str) -> None:
        """Send it a ready-made frame; never waits."""

    async def ask(self, event: str, data: object, timeout: float) -> Event:
        """Ask it a question and return the answer. See ``Connection.aemit_with_ack()``."""

    async def ajoin(self, *rooms: str) -> None:
        """Let it join rooms."""

    async def aleave(self, *rooms: str) -> None:
        """Let it leave rooms."""

    def read_data(self) -> str:
        """Return its data as JSON."""

    async def change_data(self, values: str, remove: Iterable[str]) -> str:
        """Set keys of its data to those in a JSON object, remove others, save it, and return it as JSON."""

    async def aclose(self, code: int = 1000, reason: str = "") -> None:
        """Close it."""


def ids(exclude: "Iterable[str | Member] | str | Member") -> frozenset[str]:
    """Return the connection ids of what callers pass as ``exclude``: ids or connections, one or several."""
    if isinstance(exclude, str):
        return frozenset([exclude])
    if isinstance(exclude, Iterable):
        return frozenset(item if isinstance(item, str) else item.id for item in exclude)
    return frozenset([exclude.id])
