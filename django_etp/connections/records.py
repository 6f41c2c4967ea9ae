"""The facts about a connection in the records of the log: attributes, for formatters that write JSON."""

from typing import Any

__all__ = ["facts_of"]


def facts_of(connection: Any, event: str | None = None, room: str | None = None) -> dict[str, Any]:
    """Return the ``extra`` of a log record.

    Args:
        connection: a ``Connection`` or ``Peer``; ``None`` if there is none yet.
        event: the name of the event, if there is one.
        room: the room, if there is one.
    """
    return {
        "event": event,
        "connection_id": getattr(connection, "id", None),
        "user_id": getattr(connection, "user_id", None),
        "room": room,
    }
