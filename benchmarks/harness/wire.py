"""Encode events as WebSocket messages of each contender, and match answers to events."""

import json
from dataclasses import dataclass
from typing import Protocol

__all__ = ["ENGINE_IO", "ETP", "JSON", "Dialect"]


class Dialect(Protocol):
    """The protocol inside WebSocket messages.

    Attributes:
        path: the URL path of the server.
        greeting: the first message of a client, which the server answers; empty if there is none.
        ping, pong: a message that the server sends from time to time, and the reply.
    """

    path: str
    greeting: bytes
    ping: bytes
    pong: bytes

    def event(self, name: str, data: str) -> tuple[bytes, bytes]:
        """Return the parts before and after the number of an event that wants an answer."""

    def answered(self, message: bytes) -> int:
        """Return the number of the event that a message answers; 0 if it answers none."""


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
