"""Queries that read and change a connection's data, as JSON."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django_etp.hub.hub import Hub
from django_etp.hub.members import Member, check_id
from django_etp.hub.queries import ConnectionQuery, register_query
from django_etp.sessions.data import ConnectionData, from_json

__all__ = ["ChangeData", "ReadData"]


@register_query("read_data")
@dataclass(frozen=True, slots=True)
class ReadData(ConnectionQuery[dict[str, Any]]):
    """Get a connection's data."""

    async def reply_for(self, member: Member, hub: Hub) -> str:
        """Return the data as JSON."""
        return member.read_data()

    def read(self, reply: str) -> dict[str, Any]:
        """Return the data."""
        return from_json(reply)


@register_query("change_data")
@dataclass(frozen=True, slots=True)
class ChangeData(ConnectionQuery[dict[str, Any]]):
    """Set keys of a connection's data and remove others.

    Attributes:
        values: a JSON object with the keys to set.
        remove: the keys to remove.
    """

    values: str
    remove: tuple[str, ...]

    @classmethod
    def create(
        cls, namespace: str, connection_id: str, values: Mapping[str, Any], remove: Iterable[str]
    ) -> "ChangeData":
        """Return the query for a caller's arguments.

        Raises:
            TypeError: a key is not str, or JSON cannot hold a value.
            DataTooLarge: the values alone exceed ``MAX_DATA_SIZE``.
        """
        changes = ConnectionData()
        changes.change(dict(values), ())
        if isinstance(remove, str):
            raise TypeError(f"remove= takes keys, as a list, got the str {remove!r:.80}.")
        keys = tuple(remove)
        if odd := [key for key in keys if not isinstance(key, str)]:
            raise TypeError(f"remove= takes keys, which are str, got {type(odd[0]).__name__}: {odd[0]!r:.80}.")
        return cls(namespace, check_id(connection_id), changes.to_json(), keys)

    async def reply_for(self, member: Member, hub: Hub) -> str:
        """Change and save the data, and return all of it as JSON."""
        return await member.change_data(self.values, self.remove)

    def read(self, reply: str) -> dict[str, Any]:
        """Return the data."""
        return from_json(reply)
