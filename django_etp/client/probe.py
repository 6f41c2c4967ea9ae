"""One connection to a server that is examined: the facts of its handshake, its answers, and its end.

Unlike a client's, it is never made again, and sends no WebSocket pings, so that silence is silence.
"""

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from websockets.exceptions import InvalidStatus

from django_etp.exceptions import describe
from django_etp.protocol.closing import Disconnect
from django_etp.protocol.frames import Event
from django_etp.quoting import one_line

from .attempts import CONNECT_ERRORS
from .connection import ClientConnection
from .credentials import Credentials
from .handlers import ClientHandlers
from .rooms import ClientRooms
from .websocket import BaseWebSocket, Connector

__all__ = ["Probe", "Refusal", "open_probe"]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a handshake failed.

    Attributes:
        status: the HTTP status of the answer; ``None`` if there was none, or no valid one.
        text: the reason, in words.
    """

    status: int | None
    text: str


class Probe:
    """An open connection; made by ``open_probe``.

    Attributes:
        opened_in: how long the handshake took, in seconds.
        subprotocol: the subprotocol that the server selected.
        extensions: the Sec-WebSocket-Extensions header of its answer; ``""`` for none.
        received: the names and the data of the events that arrived.
    """

    def __init__(self, websocket: BaseWebSocket, opened_in: float) -> None:
        handlers = ClientHandlers()
        handlers.add_hook("unknown_event", self._take)
        self.opened_in = opened_in
        self.subprotocol = websocket.subprotocol
        response = websocket.response
        self.extensions = "" if response is None else ", ".join(response.headers.get_all("Sec-WebSocket-Extensions"))
        self.received: list[tuple[str, str]] = []
        self._arrived = asyncio.Event()
        self._connection = ClientConnection(
            websocket, handlers, ClientRooms(handlers, lambda: self._connection, 0.0), max_running=100, max_queued=1000
        )
        self._reading: asyncio.Task[None] | None = None

    async def start(self, timeout: float) -> None:
        """Wait for the greeting, for ``timeout`` seconds at most, and read from then on."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._connection.greet()
        self._reading = asyncio.get_running_loop().create_task(self._read())

    @property
    def id(self) -> str:
        """The id of the connection on the server; ``""`` if the server did not send it."""
        return self._connection.id or ""

    async def ping(self, timeout: float) -> float:
        """Return how long the server took to answer a ping, in seconds.

        Raises:
            AckTimeout: no answer came in time.
            ConnectionClosed: the connection has ended.
        """
        start = time.perf_counter()
        await self._connection.ping(timeout)
        return time.perf_counter() - start

    async def ask(self, name: str, data: str, timeout: float) -> Event:
        """Send an event, which may have a reserved name, and return the answer. See EtpClient.emit_with_ack()."""
        return await self._connection.ask_named(name, data, timeout)

    async def has_received(self, name: str, data: str, timeout: float) -> bool:
        """Return whether an event has arrived, or arrives in time."""
        try:
            async with asyncio.timeout(timeout):
                while (name, data) not in self.received:
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError:
            return False
        return True

    async def ended(self, timeout: float) -> Disconnect | None:
        """Return how the connection ended, or ``None`` if it is open after ``timeout`` seconds."""
        assert self._reading is not None
        await asyncio.wait([self._reading], timeout=timeout)
        return self._connection.disconnect if self._reading.done() else None

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close(1000, "")
        if self._reading is not None:
            await asyncio.wait([self._reading])
        self._connection.cancel()

    async def _read(self) -> None:
        try:
            await self._connection.read()
        finally:
            self._connection.give_up()

    def _take(self, event: Event) -> None:
        self.received.append((event.name, event.data))
        self._arrived.set()


async def open_probe(
    url: str,
    *,
    origin: str | None = None,
    cookies: Mapping[str, str] | None = None,
    token: str | None = None,
    timeout: float = 10.0,
    **options: Any,
) -> Probe | Refusal:
    """Open a connection, and wait for the greeting; ``timeout`` is for the handshake, in seconds.

    See ``EtpClient`` for the other arguments.
    """
    start = time.perf_counter()
    settings = {"ping_interval": None, "open_timeout": timeout, "close_timeout": 2.0, **options}
    try:
        connector = Connector(url, Credentials((), cookies, token), origin, extensions=True, **settings)
        probe = Probe(await connector.open(), time.perf_counter() - start)
        await probe.start(timeout)
        return probe
    except InvalidStatus as error:
        body = bytes(error.response.body or b"")[:80].decode(errors="replace").strip()
        status = error.response.status_code
        reason = f"HTTP {status} {error.response.reason_phrase}".rstrip()
        return Refusal(status, one_line(f"{reason}: {body}" if body and not body.startswith("<") else reason))
    except TimeoutError:
        return Refusal(None, f"no answer within {timeout:g} s")
    except CONNECT_ERRORS as error:
        return Refusal(None, one_line(describe(error), 300))
