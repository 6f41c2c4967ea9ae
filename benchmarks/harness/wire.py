"""How the contenders' clients put an event into a WebSocket message, and which event an answer belongs to."""

import json
from dataclasses import dataclass
from typing import Protocol

__all__ = ["ENGINE_IO", "ETP", "JSON", "Dialect"]


class Dialect(Protocol):
    """What is said inside WebSocket messages.

    Attributes:
        path: where the server listens for it.
        greeting: what a client sends first, and is greeted back for; empty where nobody greets.
        ping, pong: what the server asks now and then, and is answered with.
    """

    path: str
    greeting: bytes
    ping: bytes
    pong: bytes

    def event(self, name: str, data: str) -> tuple[bytes, bytes]:
        """Return what comes before and behind the number of an event that wants an answer."""

    def answered(self, message: bytes) -> int:
        """Return the number of the event that a message answers; 0 where it answers none."""


@dataclass(frozen=True, slots=True)
class _Etp:
    path: str = "/ws/"
    greeting: bytes = b""
    ping: bytes = b"-"
    pong: bytes = b""

    def event(self, name: str, data: str) -> tuple[bytes, bytes]:
        return f"{name}||".encode(), f"||{data}".encode()

    def answered(self, message: bytes) -> int:
        return int(message.split(b"||", 2)[1])


@dataclass(frozen=True, slots=True)
class _Json:
    path: str = "/ws/"
    greeting: bytes = b""
    ping: bytes = b"-"
    pong: bytes = b""

    def event(self, name: str, data: str) -> tuple[bytes, bytes]:
        return b'{"ack": ', f', "event": "{name}", "data": "{data}"}}'.encode()

    def answered(self, message: bytes) -> int:
        number: int = json.loads(message).get("ack", 0)
        return number


@dataclass(frozen=True, slots=True)
class _EngineIo:
    path: str = "/socket.io/?EIO=4&transport=websocket"
    greeting: bytes = b"40"
    ping: bytes = b"2"
    pong: bytes = b"3"

    def event(self, name: str, data: str) -> tuple[bytes, bytes]:
        return b"42", f'["{name}","{data}"]'.encode()

    def answered(self, message: bytes) -> int:
        return int(message[2 : message.index(b"[")]) if message.startswith(b"43") else 0


ETP: Dialect = _Etp()
JSON: Dialect = _Json()
ENGINE_IO: Dialect = _EngineIo()
