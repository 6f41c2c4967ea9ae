"""Write a contract as types for TypeScript, for the client in ``etp.js``: ``new EtpClient<Contract>(…)``."""

import json
from collections.abc import Iterator

from .declarations import Declarations, key_of
from .model import Contract, Handled, Room
from .names import template_of

__all__ = ["RESERVED", "to_typescript"]

# The names that the file has beside those of the types.
RESERVED = frozenset({"Contract"})

_HEAD = """\
// The events of the namespace {namespace}, written by `manage.py etp_schema --typescript`.
//
//     import {{ EtpClient }} from "./etp.js";
//     import type {{ Contract }} from "./contract.js";
//
//     const client = new EtpClient<Contract>("/ws/");
"""


def to_typescript(contract: Contract) -> str:
    """Return the text of a ``.d.ts`` file that exports ``Contract`` and the named types."""
    types = Declarations(contract.schemas, reserved=RESERVED)
    parts = [_HEAD.format(namespace=json.dumps(contract.namespace)), *types.all()]
    lines = [
        "/** What clients and the server send each other. */",
        "export interface Contract {",
        "  /** The events that clients send. */",
        "  events: {",
        *_handled(contract.events, types, "    "),
        "  };",
        "  /** The events that the server sends. */",
        "  sent: {",
        *(f"    {key_of(name)}: {types.received(payload, '    ')};" for name, payload in contract.sent.items()),
        "  };",
        "  /** The declared rooms, by their patterns. */",
        "  rooms: {",
    ]
    for room in contract.rooms.values():
        lines += _room(room, types)
    return "\n".join([*parts, "\n".join([*lines, "  };", "}"]), ""])


def _handled(events: dict[str, Handled], types: Declarations, indent: str) -> Iterator[str]:
    for name, event in events.items():
        yield from types.comment(event.description, indent)
        answer = f"{'part' if event.is_stream else 'answer'}: {types.received(event.answer, indent)}"
        yield f"{indent}{key_of(name)}: {{ payload: {types.of(event.payload.schema, indent)}; {answer} }};"


def _room(room: Room, types: Declarations) -> Iterator[str]:
    yield from types.comment(room.description, "    ")
    yield f"    {json.dumps(room.pattern)}: {{"
    yield f"      name: {template_of(room.pattern)};"
    yield f"      state: {types.of(room.state, '      ')};"
    yield f"      info: {'never' if room.info is None else types.of(room.info, '      ')};"
    yield "      events: {"
    yield from _handled(room.events, types, "        ")
    yield "      };"
    yield "    };"
