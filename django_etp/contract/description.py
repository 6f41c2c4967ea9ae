"""Describe a namespace as it is registered in this process."""

import inspect
from collections.abc import Callable, Iterable
from typing import Any

from django_etp.events.declared import DeclaredRoom
from django_etp.events.handlers import Handler
from django_etp.events.registry import registry
from django_etp.events.signatures import declared_result, declared_types, unwrapped
from django_etp.schemas.adapters import reader_for, writer_for
from django_etp.schemas.outgoing import Outgoing, declared
from django_etp.schemas.plain import Text
from django_etp.schemas.schema import Reader, Writer

from .definitions import Definitions
from .model import Contract, Handled, Payload, Room, Schema, UnreadableContract

__all__ = ["describe", "namespaces"]


def namespaces() -> list[str]:
    """Return the names of the namespaces that have something to describe, sorted."""
    return sorted({*registry.handled, *(event.namespace for event in declared())})


def describe(namespace: str) -> Contract:
    """Return the contract of a namespace.

    Raises:
        UnreadableContract: it has nothing to describe, or a type of it has no JSON schema; the text names the place.
    """
    if namespace not in namespaces():
        known = ", ".join(map(repr, namespaces())) or "none"
        raise UnreadableContract(
            f"The namespace {namespace!r} has no events and no rooms. Those that have some: {known}."
        )
    handlers, definitions = registry.namespace(namespace), Definitions()
    return Contract(
        namespace=namespace,
        events=_handled(handlers.events, definitions),
        sent=_sent([event for event in declared() if event.namespace == namespace], definitions),
        rooms={
            room.pattern.text: _room(room, definitions)
            for room in sorted(handlers.rooms, key=lambda room: room.pattern.text)
        },
        schemas=definitions.schemas,
    )


def _handled(handlers: dict[str, Handler], definitions: Definitions) -> dict[str, Handled]:
    events = {}
    for name, handler in sorted(handlers.items()):
        argument, result = declared_types(handler.function)
        what = f"The event {name!r}, handled by {handler.place},"
        events[name] = Handled(
            payload=_payload(reader_for, argument, definitions, f"{what} has a payload", is_sent=False),
            answer=_payload(writer_for, result, definitions, f"{what} has an answer", is_sent=True),
            is_stream=handler.is_stream,
            description=_documentation(handler.function),
        )
    return events


def _sent(events: Iterable[Outgoing[Any]], definitions: Definitions) -> dict[str, Payload]:
    """Return the payloads of events, by names. An event that is declared with several types is sent as any of them."""
    found: dict[str, list[Payload]] = {}
    for event in events:
        what = f"The event {event.name!r}, declared at {event.place}, has a payload"
        payload = _payload(writer_for, event.type, definitions, what, is_sent=True)
        if payload not in found.setdefault(event.name, []):
            found[event.name].append(payload)
    return {name: _any_of(payloads) for name, payloads in found.items()}


def _any_of(payloads: list[Payload]) -> Payload:
    if len(payloads) == 1:
        return payloads[0]
    if len({payload.is_text for payload in payloads}) > 1:
        return Payload()
    schemas = sorted((payload.schema for payload in payloads), key=repr)
    return Payload({"anyOf": schemas}, payloads[0].is_text)


def _room(room: DeclaredRoom, definitions: Definitions) -> Room:
    what = f"The room {room.pattern.text!r}, declared by {room.place}, has"
    rules = ["Clients must be logged in."] if room.login_required else []
    rules += [f"Clients need the permission {name}." for name in room.permissions]
    state = _result(room.join_handler, definitions, f"{what} a state")
    info = (
        None if room.describe is None else _result(room.describe, definitions, f"{what} a description of its members")
    )
    return Room(
        pattern=room.pattern.text,
        state=state,
        events=_handled(room.events, definitions),
        info=info if info is not None or not room.has_presence else {"type": "object"},
        has_history=room.history is not None,
        description=" ".join([_documentation(room.join_handler.function), *rules]).strip(),
    )


def _result(handler: Handler, definitions: Definitions, what: str) -> Schema:
    """Return the schema of the result of a function; it is part of JSON, so text is JSON as well."""
    try:
        result = declared_result(handler.function)
    except TypeError as error:
        raise UnreadableContract(f"{what} whose type has no JSON schema: {error}") from error
    return _payload(writer_for, result, definitions, what, is_sent=True).schema


def _payload(
    adapter_for: Callable[[Any], Reader | Writer | None],
    annotation: Any,
    definitions: Definitions,
    what: str,
    *,
    is_sent: bool,
) -> Payload:
    try:
        adapter = adapter_for(annotation)
        if adapter is None:
            return Payload()
        schema = definitions.add(adapter.json_schema(is_sent=is_sent), is_sent=is_sent)
    except Exception as error:
        raise UnreadableContract(f"{what} whose type has no JSON schema: {type(error).__name__}: {error}") from error
    return Payload(schema, isinstance(adapter, Text))


def _documentation(function: Any) -> str:
    """Return the first paragraph of a docstring, on one line."""
    written = inspect.getdoc(unwrapped(function)) if inspect.isroutine(unwrapped(function)) else None
    return " ".join((written or "").split("\n\n")[0].split())
