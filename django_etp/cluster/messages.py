"""What hubs and publishers send each other over the channel layer, and how it is read back.

Rules kept here:

- Every message is a dict of plain values with a ``type``; ``v`` is the version of this format.
- Reading trusts nothing: what is malformed is ``Malformed``, with a reason, and does no harm.
- Unknown keys are ignored, so that later versions can add some.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, get_args, get_origin

__all__ = [
    "ASK_PREFIX",
    "CONTROL_GROUP",
    "HUB_PREFIX",
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
    "pack",
    "unpack",
]

VERSION = 1

# The group where all hubs are; with a hub's id, the groups where it hears answers, and what is for its connections.
CONTROL_GROUP = "etp.control"
ASK_PREFIX = "etp.ask."
HUB_PREFIX = "etp.hub."
# The longest time between two signs of life of a hub, in seconds.
MAX_INTERVAL = 60.0


class Malformed(ValueError):
    """A message on the channel layer is not what it should be."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame on its way to a room, or to one connection.

    Attributes:
        text: the frame, ready to be written.
        exclude: ids of connections that do not get it.
        rooms: all rooms it was sent to, where they are several; each hub delivers it once.
        emission: names the send where ``rooms`` does, so that a hub knows it from the other groups.
        connection_id: the one connection it is for, where it is for one.
        namespace: that connection's.
    """

    text: str
    exclude: tuple[str, ...] = ()
    rooms: tuple[str, ...] = ()
    emission: str = ""
    connection_id: str = ""
    namespace: str = ""

    @property
    def size(self) -> int:
        """How many characters it takes on its way, with the connections and rooms that it names."""
        return len(self.text) + sum(map(len, self.exclude)) + sum(map(len, self.rooms))

    def to_plain(self) -> str | list[Any]:
        """Return it as it travels: most are text alone."""
        if not (self.exclude or self.rooms or self.connection_id):
            return self.text
        return [self.text, list(self.exclude), list(self.rooms), self.emission, self.connection_id, self.namespace]

    @classmethod
    def from_plain(cls, value: object) -> "Frame":
        """Read it back."""
        match value:
            case str() as text:
                _check_text(text)
                return cls(text)
            case [str(text), [*exclude], [*rooms], str(emission), str(connection_id), str(namespace)] if all(
                isinstance(item, str) for item in (*exclude, *rooms)
            ):
                _check_text(text)
                return cls(text, tuple(map(str, exclude)), tuple(map(str, rooms)), emission, connection_id, namespace)
        raise Malformed(f"a frame must be text, or a list that starts with text; got {value!r:.80}")


@dataclass(frozen=True, slots=True)
class RoomMessage:
    """Frames for one group, in order.

    Attributes:
        group: the group it was sent to, since the layer does not tell.
        stream: names the sequence of messages of one publisher to one group.
        born: when the stream began, in seconds of its publisher's clock.
        number: this message's place in the stream, from 1.
        frames_before: how many frames the messages before it held.
        frames: what it holds.
    """

    type: ClassVar[str] = "etp.room"
    group: str
    stream: str
    born: float
    number: int
    frames_before: int
    frames: list[Any]

    def __post_init__(self) -> None:
        # No message is empty.
        if not (self.number >= 1 and self.frames_before >= self.number - 1 and self.frames):
            raise Malformed(
                f"its numbers do not fit: message {self.number} with {len(self.frames)} frames, {self.frames_before} "
                "before"
            )
        if not math.isfinite(self.born):
            raise Malformed(f"'born' must be a time, got {self.born!r}")


@dataclass(frozen=True, slots=True)
class Numbers:
    """The last numbers of streams gone quiet: lists of group, stream, born, last number, frames in all."""

    type: ClassVar[str] = "etp.numbers"
    streams: list[Any]


@dataclass(frozen=True, slots=True)
class Beat:
    """A hub says that it lives.

    Attributes:
        hub: its id.
        number: higher than that of each one before.
        interval: when it will say so again, in seconds.
        channel: its channel for room traffic; empty where it only sends and asks.
        control_channel: its channel for messages between hubs.
        is_serving: it has connections; one that has none need not be asked.
        is_new: it has just begun, and wants to hear from the others.
        is_last: it ends.
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
            raise Malformed(f"'interval' must be up to {MAX_INTERVAL:g} s, got {self.interval!r:.80}")


@dataclass(frozen=True, slots=True)
class Evicted:
    """A hub that was taken for dead, and removed from groups, is told so when it is heard of again."""

    type: ClassVar[str] = "etp.buried"
    hub: str


@dataclass(frozen=True, slots=True)
class Echo:
    """What a hub sends to itself: once it is back, all that was under way before it is here, or lost."""

    type: ClassVar[str] = "etp.echo"
    hub: str
    number: int


@dataclass(frozen=True, slots=True)
class Query:
    """Something one hub wants of others.

    Attributes:
        id: names it, for the answers.
        answer_to: the group where the asker hears answers.
        action: what is asked for.
        arguments: the action's.
        wants_sign: its asker may not know all hubs yet: who hears it says so at once, however long the answer takes.
    """

    type: ClassVar[str] = "etp.question"
    id: str
    answer_to: str
    action: str
    arguments: list[Any]
    wants_sign: bool = False

    def __post_init__(self) -> None:
        if not self.answer_to.startswith(ASK_PREFIX):
            raise Malformed(f"'answer_to' must be a group for answers, got {self.answer_to!r:.80}")


@dataclass(frozen=True, slots=True)
class Receipt:
    """One hub has heard a question that wants a sign, and will answer; and which hubs it knows."""

    type: ClassVar[str] = "etp.heard"
    id: str
    hub: str
    known: list[Any]


@dataclass(frozen=True, slots=True)
class Reply:
    """One hub's answer to a question, and which hubs it knows."""

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


Message = RoomMessage | Numbers | Beat | Evicted | Echo | Query | Receipt | Reply | Foreign

_TYPES: dict[str, type[Message]] = {kind.type: kind for kind in get_args(Message)}
_NAMES = {name: tuple(field.name for field in fields(kind)) for name, kind in _TYPES.items()}


def pack(message: Message) -> dict[str, Any]:
    """Return a message as the dict that goes to the channel layer; what the message holds is not copied."""
    values = {name: getattr(message, name) for name in _NAMES[message.type]}
    return {"type": message.type, "v": VERSION, **values}


def unpack(values: Mapping[str, Any]) -> Message:
    """Return the message that a dict from the channel layer holds.

    Raises:
        Malformed: it holds none.
    """
    kind = _TYPES.get(str(values.get("type")))
    if kind is None:
        raise Malformed(f"the type {values.get('type')!r:.80} is none of {', '.join(_TYPES)}")
    version = values.get("v", VERSION)
    if not isinstance(version, int) or version > VERSION:
        raise Malformed(f"its format version is {version!r:.80}, and this process reads {VERSION}")
    known: dict[str, Any] = {}
    for each in fields(kind):
        if each.name in values:
            known[each.name] = _checked(each.name, values[each.name], each.type)
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
    if accepted is Any or (isinstance(value, accepted) and (accepted is bool or not isinstance(value, bool))):
        return value
    raise Malformed(f"{name!r} must be {expected}, got {value!r:.80}")
