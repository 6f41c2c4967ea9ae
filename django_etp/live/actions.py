"""The actions of the live page: close a connection, send a message, take a connection out of a room."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from django_etp.hub.names import UserRoom, user_room
from django_etp.rooms.api import of

from .rows import ConnectionRow

__all__ = ["Action", "disconnect", "leave", "send_to_connection", "send_to_room", "send_to_user"]


@dataclass(frozen=True, slots=True)
class Action:
    """Something to do.

    Attributes:
        target: the connection, room or user, for the admin's log.
        done: what was done then.
        run: does it; raises EtpError.
    """

    target: str
    done: str
    run: Callable[[], None]


def disconnect(row: ConnectionRow, code: int, reason: str) -> Action:
    """Close a connection."""
    done = f"Closed with {code}" + (f": {reason}" if reason else ".")
    return Action(_name(row), done, partial(of(row.namespace).disconnect, row.id, code, reason))


def leave(namespace: str, connection_id: str, room: str) -> Action:
    """Take a connection out of a room."""
    done = f"Taken out of the room {room}."
    return Action(f"connection {connection_id}", done, partial(of(namespace).leave, connection_id, room))


def send_to_connection(row: ConnectionRow, event: str, data: str | None) -> Action:
    """Send an event to a connection."""
    return Action(_name(row), _sent(event), partial(of(row.namespace).emit_to, row.id, event, data))


def send_to_user(row: ConnectionRow, event: str, data: str | None) -> Action:
    """Send an event to all connections that the user of a connection has in its namespace."""
    room = UserRoom(user_room(row.identity))
    return Action(
        f"user {row.username or row.user_id}", _sent(event), partial(of(row.namespace).emit, room, event, data)
    )


def send_to_room(namespace: str, room: str, event: str, data: str | None) -> Action:
    """Send an event to the members of a room."""
    return Action(f"room {room}", _sent(event), partial(of(namespace).emit, room, event, data))


def _name(row: ConnectionRow) -> str:
    user = row.username or row.user_id
    return f"connection {row.id}" + (f" of {user}" if user else "")


def _sent(event: str) -> str:
    return f"Sent the event {event}."
