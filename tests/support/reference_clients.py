"""Doubles of the two reference clients, which send and read the same frames as those."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any, Self

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from tests.support.peers import WAIT, connect
from tests.support.servers import Server

ACK = "__ack_"


class _Client:
    """A connection without a subprotocol that keeps all frames in `sent` and `received`."""

    _websocket: ClientConnection
    _reader: asyncio.Task[None]

    def __init__(self, server: Server, path: str = "/ws/", *, origin: str | None = None) -> None:
        self.sent: list[str] = []
        self.received: list[str] = []
        self._connecting = connect(server, path, origin=origin)

    async def __aenter__(self) -> Self:
        self._websocket = await self._connecting
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._websocket.close()
        await self._reader

    async def _send(self, frame: str) -> None:
        self.sent.append(frame)
        await self._websocket.send(frame)

    async def _read(self) -> None:
        try:
            async for message in self._websocket:
                assert isinstance(message, str), "the reference's server writes text"
                self.received.append(message)
                await self._take(message)
        except ConnectionClosed:
            pass

    async def _take(self, frame: str) -> None:
        raise NotImplementedError


class GoClient(_Client):
    """The Go client: acks in both directions, no second delimiter without data, no Origin header."""

    def __init__(self, server: Server, path: str = "/ws/") -> None:
        super().__init__(server, path)
        self.handlers: dict[str, Callable[[str], Awaitable[str]]] = {}
        self._last_id = 0
        self._answers: dict[int, asyncio.Future[str]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def emit(self, name: str, data: str = "") -> None:
        await self._send(_go_frame(name, 0, data))

    async def emit_with_ack(self, name: str, data: str = "", *, timeout: float = WAIT) -> str:
        """Return the answer's data; raise `TimeoutError` if there is none."""
        self._last_id += 1
        answer = self._answers[self._last_id] = asyncio.get_running_loop().create_future()
        await self._send(_go_frame(name, self._last_id, data))
        async with asyncio.timeout(timeout):
            return await answer

    async def _take(self, frame: str) -> None:
        name, number, *data = frame.split("||", 2)
        event_data = data[0] if data else ""
        if name.startswith(ACK):
            if answer := self._answers.pop(int(number), None):
                answer.set_result(event_data)
            return
        task = asyncio.create_task(self._handle(name, int(number), event_data))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _handle(self, name: str, number: int, data: str) -> None:
        reply = await self.handlers[name](data) if name in self.handlers else ""
        if number:
            await self._send(_go_frame(ACK + name, number, reply))


def _go_frame(name: str, number: int, data: str) -> str:
    return f"{name}||{number}||{data}" if data else f"{name}||{number}"


class BrowserClient(_Client):
    """The browser client: only ack id 0, `name||0||` without a payload, JSON payloads; answers are ordinary events.

    It treats a frame of two parts as an error, and keeps it in `errors`.
    """

    def __init__(self, server: Server, path: str = "/ws/") -> None:
        super().__init__(server, path, origin=f"http://{server.host}")
        self.events: dict[str, asyncio.Queue[Any]] = defaultdict(asyncio.Queue)
        self.errors: asyncio.Queue[str] = asyncio.Queue()

    async def emit(self, name: str, *payload: Any) -> None:
        """Send an event with one payload or none."""
        await self._send("||".join([name, "0", *(json.dumps(value) for value in payload)]) + ("" if payload else "||"))

    async def heard(self, name: str) -> Any:
        """Return the payload of the next event of this name; an empty one is `None`."""
        async with asyncio.timeout(WAIT):
            return await self.events[name].get()

    async def _take(self, frame: str) -> None:
        parts = frame.split("||", 2)
        if len(parts) < 3:
            self.errors.put_nowait(frame)
        else:
            self.events[parts[0]].put_nowait(json.loads(parts[2]) if parts[2] else None)
