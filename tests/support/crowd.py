"""Many cheap WebSocket peers: plain sockets in one selector loop, which keep all that they receive.

They neither send nor answer pings, so run the server with `PINGLESS[kind]`. Only `Crowd.wait_for` reads.
"""

import re
import secrets
import selectors
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle
from types import TracebackType

from tests.support.servers import Server

# Options for each kind of server that turn off pings, or the close of peers that do not answer them.
PINGLESS = {
    "daphne": ["--ping-interval", "3600", "--ping-timeout", "3600"],
    "uvicorn": ["--ws-ping-interval", "3600", "--ws-ping-timeout", "3600"],
    "uvicorn-etp": ["--ws-ping-interval", "3600", "--ws-ping-timeout", "3600"],
}

_RESPONSE = re.compile(rb"HTTP/1\.1 (\d{3})")
_READ_SIZE = 1 << 18
_TEXT, _CLOSE = 1, 8


class Peer:
    """One socket of a crowd."""

    def __init__(self, server: Server, path: str) -> None:
        self.server = server
        self.path = path
        self.received = bytearray()
        self.status = 0
        self.is_reading = True
        self.is_ended = False
        self._socket = socket.socket()
        self._socket.setblocking(False)
        self._socket.connect_ex(("127.0.0.1", server.port))

    def __repr__(self) -> str:
        return f"<Peer {self.path} of {self.server!r}>"

    @property
    def is_connected(self) -> bool:
        return self.status == 101 and not self.is_ended

    @property
    def texts(self) -> list[str]:
        """Text messages received so far."""
        return texts(self.received)

    @property
    def close_code(self) -> int | None:
        """The code of the server's close frame, if one came."""
        codes = [struct.unpack(">H", payload[:2])[0] for opcode, payload in frames(self.received) if opcode == _CLOSE]
        return codes[0] if codes else None

    def send(self, text: str) -> None:
        """Send a small text message without waiting."""
        payload = text.encode()
        size = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + struct.pack(">H", len(payload))
        mask = secrets.token_bytes(4)
        masked = bytes(byte ^ key for byte, key in zip(payload, cycle(mask), strict=False))
        self._socket.sendall(b"\x81" + size + mask + masked)

    def fileno(self) -> int:
        return self._socket.fileno()

    def send_handshake(self) -> None:
        lines = [
            f"GET {self.path} HTTP/1.1",
            f"Host: {self.server.host}",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        ]
        self._socket.sendall("\r\n".join([*lines, "", ""]).encode())

    def read(self) -> None:
        """Read the data that has arrived."""
        try:
            data = self._socket.recv(_READ_SIZE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self.is_ended = not data
        self.received += data
        if self.status == 0 and (end := self.received.find(b"\r\n\r\n")) >= 0:
            match = _RESPONSE.match(self.received)
            assert match is not None, self.received
            self.status = int(match[1])
            del self.received[: end + 4]

    def reset(self) -> None:
        """Reset the TCP connection."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()


class Crowd:
    """The peers, and the loop that reads for all of them."""

    def __init__(self) -> None:
        self.peers: list[Peer] = []
        self._selector = selectors.DefaultSelector()

    def __enter__(self) -> "Crowd":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.vanish()
        self._selector.close()

    def begin(self, server: Server, paths: Sequence[str]) -> list[Peer]:
        """Start to open a connection to each path, all at once."""
        peers = [Peer(server, path) for path in paths]
        self.peers += peers
        for peer in peers:
            self._selector.register(peer, selectors.EVENT_WRITE)
        return peers

    def connect(self, server: Server, paths: Sequence[str], *, timeout: float = 60) -> list[Peer]:
        """Open a connection to each path, all at once, and wait until all are accepted."""
        peers = self.begin(server, paths)
        self.wait_for(lambda: all(peer.status or peer.is_ended for peer in peers), timeout=timeout)
        assert Counter(peer.status for peer in peers) == {101: len(peers)}
        return peers

    def read_for(self, seconds: float) -> None:
        """Read for all peers for this many seconds."""
        until = time.monotonic() + seconds
        self.wait_for(lambda: time.monotonic() >= until, timeout=seconds + 60)

    def wait_for(self, holds: Callable[[], object], *, timeout: float = 60, interval: float = 0.05) -> None:
        """Read for all peers until `holds` returns true; call it every `interval` seconds."""
        deadline = time.monotonic() + timeout
        asked_at = 0.0
        while True:
            now = time.monotonic()
            if now - asked_at >= interval:
                if holds():
                    return
                assert now < deadline, f"did not come true within {timeout} s"
                asked_at = now
            for key, _ in self._selector.select(interval):
                self._serve(key.fileobj)  # type: ignore[arg-type]

    def stop_reading(self, peer: Peer) -> None:
        """Stop reading from a peer."""
        self._selector.unregister(peer)

    def vanish(self) -> None:
        """Reset all connections at once."""
        for peer in self.peers:
            if peer.fileno() >= 0:
                peer.reset()
        self.peers.clear()
        self._selector.close()
        self._selector = selectors.DefaultSelector()

    def _serve(self, peer: Peer) -> None:
        if self._selector.get_key(peer).events == selectors.EVENT_WRITE:
            peer.send_handshake()
            self._selector.modify(peer, selectors.EVENT_READ)
            return
        peer.read()
        if peer.is_ended:
            self._selector.unregister(peer)


def frames(data: bytes | bytearray) -> Iterator[tuple[int, bytes]]:
    """Yield the opcode and payload of each complete frame in the bytes of a server."""
    view, at = memoryview(bytes(data)), 0
    while at + 2 <= len(view):
        size, start = view[at + 1], at + 2
        if size == 126:
            size, start = int.from_bytes(view[at + 2 : at + 4]), at + 4
        elif size == 127:
            size, start = int.from_bytes(view[at + 2 : at + 10]), at + 10
        if start + size > len(view):
            return
        yield view[at] & 0x0F, bytes(view[start : start + size])
        at = start + size


def texts(data: bytes | bytearray) -> list[str]:
    """Return the text messages in the bytes of a server."""
    return [payload.decode() for opcode, payload in frames(data) if opcode == _TEXT]


def text_frame(text: str) -> bytes:
    """Return a server's WebSocket frame for a short text."""
    payload = text.encode()
    assert len(payload) < 126
    return bytes([0x81, len(payload)]) + payload
