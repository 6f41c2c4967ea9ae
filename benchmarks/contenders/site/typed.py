"""The same application with handlers that declare types, and one that checks the same payload by hand.

They are not in the other processes, since pydantic and msgspec take memory there.
"""

from dataclasses import dataclass
from typing import Any

from msgspec import Struct

from django_etp import Connection, Event, InvalidPayload, etp_event

from .asgi import etp

__all__ = ["etp"]


@dataclass
class Line:
    text: str
    to: int | None = None


class FastLine(Struct):
    text: str
    to: int | None = None


@etp_event("echo_by_hand")
async def echo_by_hand(connection: Connection, event: Event) -> Any:
    fields = event.json()
    if not isinstance(fields, dict):
        raise InvalidPayload("An object is expected.")
    text, to = fields.get("text"), fields.get("to")
    if not isinstance(text, str):
        raise InvalidPayload("text: a string is expected.")
    if to is not None and (not isinstance(to, int) or isinstance(to, bool)):
        raise InvalidPayload("to: a number is expected.")
    return {"text": text, "to": to}


@etp_event("echo_dataclass")
async def echo_dataclass(connection: Connection, line: Line) -> Line:
    return line


@etp_event("echo_struct")
async def echo_struct(connection: Connection, line: FastLine) -> FastLine:
    return line
