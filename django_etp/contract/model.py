"""The contract of a namespace: the events of both directions and the declared rooms, with their types."""

from dataclasses import dataclass, field
from typing import Any

__all__ = ["Contract", "Handled", "Payload", "Room", "Schema", "UnreadableContract"]

# A JSON schema whose references are "#/components/schemas/<name>"; True is any value.
Schema = dict[str, Any] | bool


class UnreadableContract(Exception):
    """A namespace cannot be described, or an earlier contract cannot be read; the text names the place."""


@dataclass(frozen=True, slots=True)
class Payload:
    """The data of an event or an answer.

    Attributes:
        schema: the JSON schema of the data; ``{"type": "null"}`` is no data.
        is_text: whether the data is text as it is, not JSON.
    """

    schema: Schema = True
    is_text: bool = False


@dataclass(frozen=True, slots=True)
class Handled:
    """An event that clients send.

    Attributes:
        payload: the data that clients send.
        answer: the answer, or each part of it if it is streamed.
        is_stream: whether the answer is streamed.
        description: the first paragraph of the handler's docstring.
    """

    payload: Payload = field(default_factory=Payload)
    answer: Payload = field(default_factory=Payload)
    is_stream: bool = False
    description: str = ""


@dataclass(frozen=True, slots=True)
class Room:
    """A declared room.

    Attributes:
        pattern: the names of its rooms, as in ``etp_room``.
        state: the state that a client gets with the answer to its join.
        events: the events that clients send inside the room.
        info: the information about each member for the others; ``None`` if the room has no presence.
        has_history: whether clients that return get what they missed.
        description: the first paragraph of the join handler's docstring, and the rules for joins.
    """

    pattern: str
    state: Schema = True
    events: dict[str, Handled] = field(default_factory=dict)
    info: Schema | None = None
    has_history: bool = False
    description: str = ""


@dataclass(frozen=True, slots=True)
class Contract:
    """The promise of a namespace to its clients.

    Attributes:
        namespace: its name.
        events: the events that clients send, by their names.
        sent: the events that the server sends, by their names.
        rooms: the declared rooms, by their patterns.
        schemas: the types that the schemas refer to, by their names.
    """

    namespace: str
    events: dict[str, Handled] = field(default_factory=dict)
    sent: dict[str, Payload] = field(default_factory=dict)
    rooms: dict[str, Room] = field(default_factory=dict)
    schemas: dict[str, Schema] = field(default_factory=dict)
