"""Read a contract from an AsyncAPI document that ``etp_schema`` has written."""

import json
from pathlib import Path
from typing import Any

from .asyncapi import NAMESPACE, PATTERN, TEXT
from .definitions import PREFIX, references_in
from .model import Contract, Handled, Payload, Room, Schema, UnreadableContract

__all__ = ["from_document", "read_contract"]

_HOW = "Write one with manage.py etp_schema"


def read_contract(path: str) -> Contract:
    """Return the contract in a file.

    Raises:
        UnreadableContract: the file cannot be read, or holds something else.
    """
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UnreadableContract(f"{path} cannot be read: {error.strerror or error}. {_HOW} > {path}.") from error
    except (ValueError, RecursionError) as error:
        raise UnreadableContract(f"{path} is no JSON: {error}. {_HOW} > {path}, without --format yaml.") from error
    if not isinstance(document, dict) or not str(document.get("asyncapi", "")).startswith("3."):
        raise UnreadableContract(f"{path} is JSON, but not AsyncAPI 3. {_HOW} > {path}.")
    if not isinstance(document.get(NAMESPACE), str):
        raise UnreadableContract(
            f"{path} is AsyncAPI, but of another program: it has no {NAMESPACE!r}. {_HOW} > {path}."
        )
    try:
        return from_document(document)
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise UnreadableContract(
            f"{path} is AsyncAPI, but not as etp_schema writes it: {type(error).__name__}: {error}. {_HOW} > {path}."
        ) from error


def from_document(document: dict[str, Any]) -> Contract:
    """Return the contract that to_document() has written.

    Raises:
        AttributeError, KeyError, TypeError, ValueError: the document is not as to_document() writes it.
    """
    schemas = dict(document["components"]["schemas"])
    contract = Contract(document[NAMESPACE], schemas=schemas)
    for each in schemas.values():
        _checked(each, schemas)
    for channel in document["channels"].values():
        if PATTERN in channel:
            pattern = str(channel[PATTERN])
            contract.rooms[pattern] = _room(pattern, channel, schemas)
    for operation in document["operations"].values():
        channel, messages = _found(document, operation["channel"]), _messages(document, operation["messages"])
        events, (message, *_) = contract.events, messages
        if PATTERN in channel:
            events = contract.rooms[channel[PATTERN]].events
        if operation["action"] == "send" and PATTERN not in channel:
            contract.sent[message["name"]] = _payload(message, schemas)
        elif operation["action"] == "receive" and not message["name"].startswith("__"):
            replies = {each["name"]: each for each in _messages(document, operation["reply"]["messages"])}
            events[message["name"]] = _handled(message, replies, operation, schemas)
    return contract


def _handled(
    message: dict[str, Any], replies: dict[str, Any], operation: dict[str, Any], schemas: dict[str, Schema]
) -> Handled:
    name = message["name"]
    part = replies.get(f"__part_{name}")
    return Handled(
        payload=_payload(message, schemas),
        answer=_payload(replies[f"__ack_{name}"] if part is None else part, schemas),
        is_stream=part is not None,
        description=operation.get("description", ""),
    )


def _room(pattern: str, channel: dict[str, Any], schemas: dict[str, Schema]) -> Room:
    answer = channel["messages"]["__join.answer"]["payload"]["properties"]
    info = answer["members"]["items"]["properties"]["info"] if "members" in answer else None
    return Room(
        pattern,
        _checked(answer["state"], schemas),
        info=None if info is None else _checked(info, schemas),
        has_history="position" in answer,
    )


def _payload(message: dict[str, Any], schemas: dict[str, Schema]) -> Payload:
    return Payload(_checked(message.get("payload", True), schemas), message.get("contentType") == TEXT)


def _messages(document: dict[str, Any], references: list[dict[str, str]]) -> list[dict[str, Any]]:
    messages = [_found(document, reference) for reference in references]
    return [_found(document, message) if "$ref" in message else message for message in messages]


def _found(document: dict[str, Any], reference: dict[str, str]) -> dict[str, Any]:
    found: Any = document
    for step in reference["$ref"].removeprefix("#/").split("/"):
        found = found[step]
    if not isinstance(found, dict):
        raise TypeError(f"{reference['$ref']} is no object")
    return found


def _checked(schema: Any, schemas: dict[str, Schema]) -> Schema:
    """Return a schema whose references lead somewhere."""
    if not isinstance(schema, dict | bool):
        raise TypeError(f"{schema!r:.80} is no JSON schema")
    for reference in references_in(schema):
        if reference.removeprefix(PREFIX) not in schemas:
            raise KeyError(reference)
    return schema
