"""The rooms with presence of a hub, as the hub sees them: they stand in a higher package."""

from typing import Any, Protocol

__all__ = ["Presence"]


class Presence(Protocol):
    """The rooms with presence of a hub; ``django_etp.presence`` sets it, if a room has presence."""

    def begin(self) -> None:
        """Begin to exchange messages with the other processes, unless that has begun."""

    def leave(self, connection_id: str, key: tuple[str, str], *, is_gone: bool) -> None:
        """Let a connection leave a room, given by namespace and name; if it is gone, it may return for a while."""

    def rows(self, namespace: str, name: str) -> list[Any]:
        """Return the entries of a room that this process answers for, as plain values."""

    def own_share(self, id: str) -> tuple[int, list[Any]]:
        """Return the version and the entries of this process's share of a room, as plain values."""

    def repair(self, group: str) -> bool:
        """Ask again for messages that a channel-layer group has lost; return whether the group is one of presence."""

    async def hand_over(self) -> None:
        """Let the other processes keep the entries for the grace, and end; begin() may follow."""
