"""Messages between nodes over the channel layer: their types, and how they are packed and unpacked.

Rules kept here:

- Every message is a dict of plain values with a ``type``; ``v`` is the version of this format.
- No message is trusted: a malformed one raises ``Malformed``, with a reason, and does no harm.
- Unknown keys are ignored, so that later versions can add some.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, get_args, get_origin

from django_etp.conf.layer_names import ask_group

from .malformed import Malformed, shorten
from .numbers import MAX_STREAM_NAME, Numbers, Wanted

__all__ = [
    "MAX_INTERVAL",
    "Beat",
    "Echo",
    "Evicted",
    "Foreign",
    "Frame",
    "Malformed",
    "Message",
    "Numbers",
    "Query",
    "Receipt",
    "Reply",
    "RoomMessage",
    "Wanted",
    "pack",
    "unpack",
]

VERSION = 1

_LARGEST_INT = 2**63 - 1
# The size of a short text in memory, in bytes.
_NAME_SIZE = 100
# The longest time between two heartbeats of a node, in seconds.
MAX_INTERVAL = 60.0


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame on its way to a room, or to one connection.

    Attributes:
        text: the frame, ready to be written.
        exclude: ids of connections that do not get it.
        rooms: all rooms it was sent to, if they are several; each hub delivers it once.
        emission: names a send that may reach a hub more than once.
        connection_id, namespace: the only connection it is for, if there is one.
        begins_message: it is the first one of its message: none that waits already goes with it. This is not sent.
    """

    text: str
    exclude: frozenset[str] = frozenset()
    rooms: tuple[str, ...] = ()
    emission: str = ""
    connection_id: str = ""
    namespace: str = ""
    begins_message: bool = False

    @property
    def size(self) -> int:
        """The number of characters that are sent, with what it names; each name counts for 100 more."""
        if not (self.exclude or self.rooms or self.connection_id):
            return len(self.text)
        names = *self.exclude, *self.rooms, self.connection_id, self.namespace
        return len(self.text) + sum(map(len, names)) + _NAME_SIZE * len(names)

    def to_plain(self) -> str | list[Any]:
        """Return the value that is sent: the text alone, for most frames."""
        if not (self.exclude or self.rooms or self.emission or self.connection_id):
            return self.text
        return [self.text, list(self.exclude), list(self.rooms), self.emission, self.connection_id, self.namespace]

    @classmethod
    def from_plain(cls, value: object) -> "Frame":
        """Return the frame that to_plain() made a value of.

        Raises:
            Malformed: it is no such value.
        """
        match value:
            case str() as text:
                _check_text(text)
                return cls(text)
            case [str(text), [*exclude], [*rooms], str(emission), str(connection_id), str(namespace)] if all(
                isinstance(item, str) for item in (*exclude, *rooms)
            ):
                _check_text(text)
                return cls(
                    text, frozenset(map(str, exclude)), tuple(map(str, rooms)), emission, connection_id, namespace
                )
        raise Malformed(f"a frame must be text, or a list that starts with text; got {shorten(value)}")


@dataclass(frozen=True, slots=True)
class RoomMessage:
    """Frames for one group, in order.

    Attributes:
        group: the group it was sent to, which a layer does not pass on.
        stream: names the sequence of messages of one publisher to one group.
        born: when the stream began, in seconds of its publisher's clock. Only older versions decide by it.
        number: this message's place in the stream, from 1.
        frames_before: how many frames the messages before it held.
        frames: their values. See Frame.to_plain().
        age: for how many seconds the stream has existed; processes of older versions send none.
    """

    type: ClassVar[str] = "etp.room"
    group: str
    stream: str
    born: float
    number: int
    frames_before: int
    frames: list[Any]
    age: float = math.inf

    def __post_init__(self) -> None:
        # No message is empty.
        if not (self.number >= 1 and self.frames_before >= self.number - 1 and self.frames):
            frames = f"{len(self.frames)} frames, {self.frames_before} before"
            raise Malformed(f"its numbers do not fit: message {self.number} with {frames}")
        if len(self.stream) > MAX_STREAM_NAME:
            raise Malformed(f"'stream' must be a name of at most {MAX_STREAM_NAME} characters, got {len(self.stream)}")
        if not math.isfinite(self.born):
            raise Malformed(f"'born' must be a time, got {shorten(self.born)}")
        if not self.age >= 0:
            raise Malformed(f"'age' must be a number of seconds, got {shorten(self.age)}")


@dataclass(frozen=True, slots=True)
class Beat:
    """A heartbeat: the node of a hub lives.

    Attributes:
        hub: the hub's id.
        number: higher than that of each heartbeat before.
        interval: when the next one is due, in seconds.
        channel: the node's channel for room traffic; empty for a background hub.
        control_channel: the node's channel for control messages.
        is_serving: the hub has connections; one without need not be queried.
        is_new: the node has just begun, and wants a heartbeat of each other node.
        is_last: the node ends.
    """

    type: ClassVar[str] = "etp.beat"
    hub: str
    number: int
    interval: float
    channel: str
    control_channel: str
    is_serving: bool = True
    is_new: bool = False
    is_last: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.interval <= MAX_INTERVAL:
            raise Malformed(f"'interval' must be up to {MAX_INTERVAL:g} s, got {shorten(self.interval)}")


@dataclass(frozen=True, slots=True)
class Evicted:
    """A notice to a node that it had expired, and was removed from groups; it is sent once its heartbeats are back."""

    type: ClassVar[str] = "etp.buried"
    hub: str


@dataclass(frozen=True, slots=True)
class Echo:
    """A message of a node to itself: once it is back, all messages sent before it have arrived, or are lost."""

    type: ClassVar[str] = "etp.echo"
    hub: str
    number: int


@dataclass(frozen=True, slots=True)
class Query:
    """A query of one node to others.

    Attributes:
        id: names it, for the replies.
        answer_to: the group of its replies.
        action: the query's name.
        arguments: its arguments.
        wants_sign: each node that it reaches is to send a receipt at once, however long the reply takes.
    """

    type: ClassVar[str] = "etp.question"
    id: str
    answer_to: str
    action: str
    arguments: list[Any]
    wants_sign: bool = False

    def __post_init__(self) -> None:
        if not self.answer_to.startswith(ask_group("")):
            raise Malformed(f"'answer_to' must be a group for replies, got {shorten(self.answer_to)}")


@dataclass(frozen=True, slots=True)
class Receipt:
    """A receipt: a query has reached one hub, whose reply will follow; ``known`` are the hubs that it knows."""

    type: ClassVar[str] = "etp.heard"
    id: str
    hub: str
    known: list[Any]


@dataclass(frozen=True, slots=True)
class Reply:
    """One hub's reply to a query; ``known`` are the hubs that it knows."""

    type: ClassVar[str] = "etp.answer"
    id: str
    hub: str
    known: list[Any]
    result: Any = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Foreign:
    """An event that other Channels code sends to a room's group."""

    type: ClassVar[str] = "etp.emit"
    room: str
    event: str
    data: Any = None
    namespace: str = field(default="default")


Message = RoomMessage | Numbers | Wanted | Beat | Evicted | Echo | Query | Receipt | Reply | Foreign

_TYPES: dict[str, type[Message]] = {kind.type: kind for kind in get_args(Message)}
_FIELDS = {name: tuple((field.name, field.type) for field in fields(kind)) for name, kind in _TYPES.items()}


def pack(message: Message) -> dict[str, Any]:
    """Return a message as the dict that goes to the channel layer, without a copy of its values."""
    values: dict[str, Any] = {"type": message.type, "v": VERSION}
    for name, _ in _FIELDS[message.type]:
        values[name] = getattr(message, name)
    return values


def unpack(values: Mapping[str, Any]) -> Message:
    """Return the message that a dict from the channel layer represents.

    Raises:
        Malformed: it represents none.
    """
    type_ = values.get("type")
    kind = _TYPES.get(type_) if isinstance(type_, str) else None
    if kind is None:
        raise Malformed(f"the type {shorten(type_)} is none of {', '.join(_TYPES)}")
    version = values.get("v", VERSION)
    if not isinstance(version, int) or version > VERSION:
        raise Malformed(f"its format version is {shorten(version)}, and this process reads {VERSION}")
    known: dict[str, Any] = {}
    for name, expected in _FIELDS[kind.type]:
        if name in values:
            known[name] = _checked(name, values[name], expected)
    try:
        return kind(**known)
    except TypeError as error:
        raise Malformed(f"a key is missing: {error}") from None


def _check_text(text: str) -> None:
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Malformed("a frame must be valid Unicode, and this one has a lone surrogate") from None


def _checked(name: str, value: object, expected: Any) -> object:
    accepted = get_origin(expected) or expected
    if accepted is float:
        accepted = int | float
    if accepted is list and isinstance(value, tuple):
        return list(value)
    if accepted is not Any and isinstance(value, int) and not -_LARGEST_INT <= value <= _LARGEST_INT:
        raise Malformed(f"{name!r} must be a number of 64 bits, got a larger one")
    if accepted is Any or (isinstance(value, accepted) and (accepted is bool or not isinstance(value, bool))):
        return value
    raise Malformed(f"{name!r} must be {expected}, got {shorten(value)}")
