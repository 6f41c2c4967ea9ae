"""Write a contract as AsyncAPI 3, from the view of the server: it receives what clients send.

Rules kept here:

- Everything of the contract can be read again: see ``document.py``.
- The same contract gives the same text, so that a file of it changes only if the contract does.
- The name of a message is the name on the wire. Its key is that name in the characters that keys may have.
"""

import re
from typing import Any

from .failures import FAILURE, REFUSAL
from .model import Contract, Handled, Payload, Room, Schema
from .names import address_of, converters_of

__all__ = ["JSON", "NAMESPACE", "PATTERN", "TEXT", "to_document"]

JSON, TEXT = "application/json", "text/plain"
# Extensions of the format: the namespace of a document, and the pattern of a room's channel.
NAMESPACE, PATTERN = "x-etp-namespace", "x-etp-pattern"

_TEXT: dict[str, Any] = {"type": "string"}
_ROOM_ONLY: dict[str, Any] = {"type": "object", "properties": {"room": _TEXT}, "required": ["room"]}
_PAST: dict[str, Any] = {
    "type": "object",
    "properties": {
        "events": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"position": _TEXT, "event": _TEXT, "data": _TEXT, "at": {"type": "number"}},
                "required": ["position", "event", "data", "at"],
            },
        }
    },
    "required": ["events"],
}


def to_document(contract: Contract) -> dict[str, Any]:
    """Return a contract as an AsyncAPI document, ready for JSON."""
    main = _Channel("events", {"address": None, "title": "Events"})
    main.channel["description"] = (
        "The WebSocket. A frame is the name of an event, an ack id and the payload, divided by ||. A frame with an ack "
        "id other than 0 asks for an answer."
    )
    main.add_handled(contract.events)
    main.add_sent(contract.sent, "An event that the server sends.")
    channels, operations = {main.key: main.channel}, main.operations
    for room in contract.rooms.values():
        part = _room_channel(room, contract, taken=channels)
        channels[part.key] = part.channel
        operations.update(part.operations)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": f"ETP events of the namespace {contract.namespace}",
            "version": "1.0.0",  # AsyncAPI wants one; whether two contracts fit together is what --check answers
        },
        NAMESPACE: contract.namespace,
        "defaultContentType": JSON,
        "channels": channels,
        "operations": operations,
        "components": {
            "messages": {"failure": FAILURE, "refusal": REFUSAL},
            "schemas": contract.schemas,
        },
    }


class _Channel:
    """A channel of the document, with its messages and its operations."""

    def __init__(self, key: str, channel: dict[str, Any]) -> None:
        self.key = key
        self.messages: dict[str, Any] = {}
        self.channel = {**channel, "messages": self.messages}
        self.operations: dict[str, Any] = {}

    def add_handled(self, events: dict[str, Handled]) -> None:
        """Add the events that clients send, each with its answer."""
        for name, event in events.items():
            answers = [self.add_message(f"__ack_{name}", event.answer, f"{name}.answer")]
            if event.is_stream:
                end = Payload({"type": "null"})
                answers = [
                    self.add_message(f"__part_{name}", event.answer, f"{name}.part"),
                    self.add_message(f"__ack_{name}", end, f"{name}.end"),
                ]
            asked = self.add_message(name, event.payload, name)
            self.add_operation("receive", name, [asked], event.description, [*answers, self.refer("failure")])

    def add_sent(self, events: dict[str, Payload], description: str) -> None:
        """Add the events that the server sends."""
        for name, payload in events.items():
            self.add_operation("send", name, [self.add_message(name, payload, name)], description)

    def add_message(self, name: str, payload: Payload, key: str) -> dict[str, str]:
        """Add a message, and return the reference to it."""
        message: dict[str, Any] = {"name": name, "contentType": TEXT if payload.is_text else JSON}
        if payload.schema is not True:
            message["payload"] = payload.schema
        return self._add(key, message)

    def refer(self, shared: str) -> dict[str, str]:
        """Add a message that several channels have, and return the reference to it."""
        if shared not in self.messages:
            self.messages[shared] = {"$ref": f"#/components/messages/{shared}"}
        return {"$ref": f"#/channels/{self.key}/messages/{shared}"}

    def add_operation(
        self,
        action: str,
        name: str,
        messages: list[dict[str, str]],
        description: str = "",
        reply: list[dict[str, str]] | None = None,
    ) -> None:
        """Add what the server does with messages, and the messages that it may answer with."""
        channel = {"$ref": f"#/channels/{self.key}"}
        operation: dict[str, Any] = {"action": action, "channel": channel, "messages": messages}
        if description:
            operation["description"] = description
        if reply is not None:
            operation["reply"] = {"channel": channel, "messages": reply}
        self.operations[_free_key(f"{self.key}.{action}.{name}", self.operations)] = operation

    def _add(self, key: str, message: dict[str, Any]) -> dict[str, str]:
        key = _free_key(key, {**self.messages, "failure": None, "refusal": None})
        self.messages[key] = message
        return {"$ref": f"#/channels/{self.key}/messages/{key}"}


def _room_channel(room: Room, contract: Contract, taken: dict[str, Any]) -> _Channel:
    """Return the channel of a declared room: joins, the events inside it, and what members get."""
    converters = converters_of(room.pattern)
    fields: dict[str, Any] = {
        "address": address_of(room.pattern),
        "title": f"The room {room.pattern}",
        "description": "Events inside the room go as frames of the name `__in <room> <event>`.",
        "parameters": {
            name: {"description": f"As Django's path converter {each}."} for name, each in converters.items()
        },
        PATTERN: room.pattern,
    }
    part = _Channel(_free_key(f"room.{room.pattern}", taken), fields)
    asked = part.add_message("__join", Payload(_room_and(since=_TEXT) if room.has_history else _ROOM_ONLY), "__join")
    joined = part.add_message("__ack___join", Payload(_joined(room)), "__join.answer")
    description = f"A client joins the room. {room.description}".strip()
    part.add_operation("receive", "__join", [asked], description, [joined, part.refer("refusal")])
    part.add_operation("receive", "__leave", [part.add_message("__leave", Payload(_ROOM_ONLY), "__leave")])
    part.add_handled(room.events)
    part.add_sent(contract.sent, "An event that the server may send to the members of the room.")
    part.add_operation("send", "__left", [part.refer("refusal")], "The server took the client out of the room.")
    if room.info is not None:
        changes = part.add_message("__presence", Payload(_changes(room.info)), "__presence")
        part.add_operation("send", "__presence", [changes], "The members of the room have changed.")
    if room.has_history:
        question = _room_and(limit={"type": "integer", "minimum": 1}, before=_TEXT)
        past = part.add_message("__ack___history", Payload(_PAST), "__history.answer")
        asked = part.add_message("__history", Payload(question), "__history")
        description = "A member reads past events, the oldest first."
        part.add_operation("receive", "__history", [asked], description, [past, part.refer("refusal")])
    return part


def _room_and(**fields: Schema) -> Schema:
    return {**_ROOM_ONLY, "properties": {**_ROOM_ONLY["properties"], **fields}}


def _joined(room: Room) -> Schema:
    properties: dict[str, Schema] = {"state": room.state}
    if room.info is not None:
        properties["members"] = {"type": "array", "items": _member(room.info)}
        properties["count"] = {"type": "integer"}
    if room.has_history:
        properties |= {"position": _TEXT, "recovered": {"type": "boolean"}}
    return {"type": "object", "properties": properties, "required": [name for name in properties if name != "count"]}


def _changes(info: Schema) -> Schema:
    members = {"type": "array", "items": _member(info)}
    keys = {"type": "array", "items": {"type": "string"}}
    return {
        "type": "object",
        "properties": {"joined": members, "changed": members, "left": keys, "count": {"type": "integer"}},
    }


def _member(info: Schema) -> Schema:
    properties: dict[str, Schema] = {
        "key": {"type": "string"},
        "info": info,
        "since": {"type": "number"},
        "connections": {"type": "integer"},
    }
    return {"type": "object", "properties": properties, "required": list(properties)}


def _free_key(name: str, taken: dict[str, Any]) -> str:
    key = wanted = re.sub(r"[^\w.-]+", "_", name, flags=re.ASCII) or "_"
    number = 1
    while key in taken:
        number += 1
        key = f"{wanted}.{number}"
    return key
