"""An ASGI connection in the test's own process, for misbehaviour that the testing kit does not offer."""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, Self

from django.contrib.auth.models import AnonymousUser

from django_etp import Connection, on_error
from django_etp.consumers import EtpConsumer
from django_etp.testing import EtpCommunicator
from django_etp.uvicorn.incoming import Incoming, Take

WAIT = 20.0  # seconds that a test waits for expected events

Message = dict[str, Any]


async def until(condition: Callable[[], object], *, timeout: float = WAIT) -> None:
    """Return once the condition holds; fail after `timeout` seconds."""
    async with asyncio.timeout(timeout):
        while True:
            if condition():
                return
            await asyncio.sleep(0.005)


class Wire:
    """An ASGI server from the consumer's point of view: it delivers messages and receives those that are sent.

    Plain handlers run in the library's own threads here, as in production. `on_send` is awaited before each message
    that the application sends; its exceptions are raised in the application.

    If `offers_calls`, it is a server with the extension django_etp.direct, as django_etp.uvicorn is. With `on_send` its
    client is always behind, so that all is sent by messages. The fixture `both_ways` runs a test on both kinds.
    """

    offers_calls: ClassVar[bool] = False

    def __init__(
        self,
        *,
        namespace: str = "default",
        on_send: Callable[[Message], Awaitable[None]] | None = None,
        **scope: Any,
    ) -> None:
        self.scope = {
            "type": "websocket",
            "path": "/ws/",
            "headers": [(b"host", b"testserver")],
            "subprotocols": [],
            "user": AnonymousUser(),
            **scope,
        }
        self.sent: list[Message] = []
        self.application = EtpConsumer.as_asgi(namespace=namespace)
        self.task: asyncio.Task[None]
        self._incoming: asyncio.Queue[Message] = asyncio.Queue()
        self._calls = Incoming(max_messages=1_000_000)  # in place of the queue
        self._is_over = False  # the application was told the end by a call
        if self.offers_calls:
            self.scope["extensions"] = {"django_etp.direct": {}, **(self.scope.get("extensions") or {})}
        self._on_send = on_send
        self._read = 0

    def start(self) -> Self:
        """Start the handshake."""
        connect = {"type": "websocket.connect"}
        if not self.offers_calls:
            self._incoming.put_nowait(connect)
        elif self._calls.disconnect is None:
            self._calls.messages.append(connect)
        self.task = asyncio.get_running_loop().create_task(
            self.application(self.scope, self._receive, self._send), context=contextvars.Context()
        )
        return self

    async def open(self) -> Self:
        """Complete the handshake; fail if it is refused."""
        self.start()
        assert (await self.next())["type"] == "websocket.accept"
        return self

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(self, *_: object) -> None:
        await self.leave()

    async def next(self, *, timeout: float = WAIT) -> Message:
        """Return the next message that the application sent."""
        await until(lambda: len(self.sent) > self._read or self.task.done(), timeout=timeout)
        assert len(self.sent) > self._read, "the application ended without another message"
        self._read += 1
        return self.sent[self._read - 1]

    async def text(self) -> str:
        """Return the next frame that the application sent."""
        message = await self.next()
        assert message["type"] == "websocket.send", message
        return str(message["text"])

    def put(self, frame: str | bytes) -> None:
        """Deliver a message of the client."""
        if self.offers_calls:
            self._calls.put(frame)
            return
        key = "text" if isinstance(frame, str) else "bytes"
        self._incoming.put_nowait({"type": "websocket.receive", key: frame})

    @property
    def unread(self) -> int:
        """How many messages of the client the application has not received."""
        if self.offers_calls:
            return len(self._calls.messages) + (self._calls.disconnect is not None and not self._is_over)
        return self._incoming.qsize()

    def vanish(self, code: int | None = 1006, reason: str = "") -> None:
        """Deliver the disconnect of the client."""
        disconnect = {"type": "websocket.disconnect", "code": code, "reason": reason}
        (self._calls.end if self.offers_calls else self._incoming.put_nowait)(disconnect)

    async def ended(self, *, timeout: float = 12.0) -> None:
        """Wait until the application ends; raise its exception."""
        async with asyncio.timeout(timeout):
            await asyncio.shield(self.task)

    async def leave(self, code: int = 1000) -> None:
        """Disconnect normally, and wait until the application ends."""
        self.vanish(code)
        await self.ended()

    def receive_by(self, take: Take) -> "asyncio.Future[Message | None]":
        passed = self._calls.pass_to(take, lambda: None)
        passed.add_done_callback(self._note_end)
        return passed

    def _note_end(self, _: object) -> None:
        self._is_over = self._calls.disconnect is not None

    def offer(self, text: str) -> bool:
        if self._on_send is None:
            self.sent.append({"type": "websocket.send", "text": text})
        return self._on_send is None

    async def _receive(self) -> Message:
        return await (self._calls.receive(lambda: None) if self.offers_calls else self._incoming.get())

    async def _send(self, message: Message) -> None:
        if self._on_send is not None:
            await self._on_send(message)
        self.sent.append(message)


def errors() -> list[BaseException]:
    """Return a list that collects the errors that on_error receives."""
    told: list[BaseException] = []

    @on_error
    async def keep(connection: Connection | None, error: BaseException) -> None:
        told.append(error)

    return told


def recorded() -> tuple[Callable[..., Any], list[Any]]:
    """Return the application, and a list that will hold what it sends."""
    sent: list[Any] = []
    stack = EtpCommunicator()._application

    async def application(scope: Any, receive: Any, send: Any) -> None:
        async def send_on(message: Any) -> None:
            sent.append(message)
            await send(message)

        await stack(scope, receive, send_on)

    return application, sent
