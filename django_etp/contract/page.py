"""The content of the page of a namespace: its contract, with the places, the rules and the whole docstrings.

Rules kept here:

- Clients may rely on the contract. The rest is read from the registry, and is on the page alone.
- Pairs stand for dicts, since a template takes `names.items` for a key.
- Text is plain; the templates escape it. Types and the meanings of codes are HTML already.
"""

import inspect
import json
import re
from dataclasses import dataclass, field
from operator import itemgetter
from urllib.parse import quote

from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe

from django_etp.events.declared import DeclaredRoom
from django_etp.events.handlers import Handler
from django_etp.events.registry import registry
from django_etp.events.signatures import unwrapped
from django_etp.schemas.outgoing import declared

from .declarations import Declarations
from .definitions import PREFIX
from .failures import EVENT_CODES, ROOM_CODES
from .model import Contract, Handled, Payload, Room, Schema
from .names import converters_of
from .typescript import RESERVED

__all__ = ["Page", "ShownEvent", "ShownRoom", "ShownType", "failures", "page_of"]


@dataclass(frozen=True, slots=True)
class ShownType:
    """A type.

    Attributes:
        text: the type in the notation of TypeScript, with links to the named types in it.
        schema: its JSON schema, if there may be more in it than in the text.
        is_text: whether the data is text as it is, not JSON.
    """

    text: SafeString
    schema: str = ""
    is_text: bool = False


@dataclass(frozen=True, slots=True)
class ShownEvent:
    """An event of either direction.

    Attributes:
        anchor: its id on the page.
        name: its name.
        payload: its data.
        answer: the answer, or each part of it; ``None`` for an event that the server sends.
        is_stream: whether the answer is streamed.
        documentation: the handler's docstring.
        rate: the rate of its events, if there is one.
        places: the places that handle or declare it.
    """

    anchor: str
    name: str
    payload: ShownType
    answer: ShownType | None = None
    is_stream: bool = False
    documentation: str = ""
    rate: str = ""
    places: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ShownRoom:
    """A declared room.

    Attributes:
        anchor: its id on the page.
        declaration: the room as it was declared.
        parameters: the parameters, each with its converter.
        state: the state that a client gets with the answer to its join.
        info: the information about each member for the others; ``None`` without presence.
        events: the events inside the room.
        documentation: the docstring of the join handler.
        rule: the docstring of the function of ``allow``.
    """

    anchor: str
    declaration: DeclaredRoom
    parameters: list[tuple[str, str]]
    state: ShownType
    info: ShownType | None
    events: list[ShownEvent]
    documentation: str
    rule: str


@dataclass(frozen=True, slots=True)
class Page:
    """The page of a namespace.

    Attributes:
        namespace: its name.
        handled: the events that clients send.
        sent: the events that the server sends.
        rooms: the declared rooms.
        types: the named types, each with its name.
    """

    namespace: str
    handled: list[ShownEvent]
    sent: list[ShownEvent]
    rooms: list[ShownRoom]
    types: list[tuple[str, ShownType]]


def page_of(contract: Contract) -> Page:
    """Return what the page of a contract shows; the contract is one of this process."""
    namespace = contract.namespace
    handlers, notation = registry.namespace(namespace), _Notation(contract)
    rooms = {room.pattern.text: room for room in handlers.rooms}
    events = [event for event in declared() if event.namespace == namespace]
    return Page(
        namespace=namespace,
        handled=_handled(contract.events, handlers.events, notation, "event"),
        sent=[
            ShownEvent(
                anchor=_anchor("sent", name),
                name=name,
                payload=notation.of(payload),
                places=[event.place for event in events if event.name == name],
            )
            for name, payload in contract.sent.items()
        ],
        rooms=[_room(rooms[pattern], room, notation) for pattern, room in contract.rooms.items()],
        types=notation.named_types(),
    )


class _Notation:
    """The types of a contract in the notation of TypeScript."""

    def __init__(self, contract: Contract) -> None:
        self._schemas = contract.schemas
        self._types = Declarations(contract.schemas, reserved=RESERVED)
        self._names = {self._types.of({"$ref": f"{PREFIX}{name}"}): schema for name, schema in contract.schemas.items()}

    def named_types(self) -> list[tuple[str, ShownType]]:
        """Return the named types with their names, sorted."""
        return [(name, self._shown(schema)) for name, schema in sorted(self._names.items(), key=itemgetter(0))]

    def of(self, payload: Payload) -> ShownType:
        """Return the type of the data of an event or an answer."""
        return self._shown(payload.schema, is_text=payload.is_text)

    def _shown(self, schema: Schema, *, is_text: bool = False) -> ShownType:
        says_more = isinstance(schema, dict) and len(schema) > 1
        written = json.dumps(schema, indent=2, ensure_ascii=False, default=str) if says_more else ""
        return ShownType(self._linked(self._types.of(schema)), written, is_text)

    def _linked(self, text: str) -> SafeString:
        """Return the text of a type as HTML, with a link for each name of a type."""
        parts = [
            format_html('<a href="#{}">{}</a>', _anchor("type", part), part)
            if part in self._names
            else format_html("{}", part)
            for part in re.split(r"(\w+)", text, flags=re.ASCII)
        ]
        return mark_safe("".join(parts))


def failures() -> list[tuple[str, list[tuple[str, SafeString]]]]:
    """Return the codes of failed events and of refused joins, each with its meaning as HTML."""
    return [
        (what, [(code, _with_code(meaning)) for code, meaning in codes.items()])
        for what, codes in {"Events": EVENT_CODES, "Joins": ROOM_CODES}.items()
    ]


def _with_code(text: str) -> SafeString:
    """Return a text as HTML, with what is between backticks as code."""
    return mark_safe(re.sub(r"`(.*?)`", r"<code>\1</code>", escape(text)))


def _handled(
    events: dict[str, Handled], handlers: dict[str, Handler], notation: _Notation, prefix: str
) -> list[ShownEvent]:
    return [
        ShownEvent(
            anchor=_anchor(prefix, name),
            name=name,
            payload=notation.of(event.payload),
            answer=notation.of(event.answer),
            is_stream=event.is_stream,
            documentation=_documentation(handlers[name]),
            rate=str(handlers[name].limit or ""),
            places=[handlers[name].place],
        )
        for name, event in events.items()
    ]


def _room(declaration: DeclaredRoom, room: Room, notation: _Notation) -> ShownRoom:
    anchor = _anchor("room", room.pattern)
    return ShownRoom(
        anchor=anchor,
        declaration=declaration,
        parameters=list(converters_of(room.pattern).items()),
        state=notation.of(Payload(room.state)),
        info=None if room.info is None else notation.of(Payload(room.info)),
        events=_handled(room.events, declaration.events, notation, anchor),
        documentation=_documentation(declaration.join_handler),
        rule="" if declaration.rule is None else _documentation(declaration.rule),
    )


def _anchor(*parts: str) -> str:
    """Return an id that has no spaces, and is the same each time."""
    return "-".join(quote(part, safe="%") for part in parts)


def _documentation(handler: Handler) -> str:
    """Return the docstring of a function; the docstring of a callable object is that of its class."""
    written = unwrapped(handler.function)
    return (inspect.getdoc(written) or "") if inspect.isroutine(written) else ""
