"""Threads for the middleware of handshakes: ``HandshakeThreads``, which a project may wrap around it.

Channels' ``AuthMiddlewareStack`` loads the session and the user in the one thread of a process that asgiref shares
among all ``sync_to_async()`` calls outside of requests, the ORM's a-methods included: a handshake waits for every other
one, and for whatever an async handler has running there.

Rules kept here:

- Each handshake has a thread of its own, with its own database connection, until its consumer begins.
- At most so many handshakes are on the way at once; more wait in order. So the database connections stay bounded.
- A connection of the database is closed with its thread.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any
from weakref import WeakKeyDictionary

from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.db import connections

from .sending import Receive, Send
from .threads import runs_thread_sensitive

__all__ = ["HandshakeThreads", "end_handshake"]

_Application = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]


class HandshakeThreads:
    """An ASGI application around the middleware of WebSocket handshakes, which then waits for no other thread.

    Args:
        application: the middleware around ``EtpConsumer``, such as an ``AuthMiddlewareStack``.
        limit: how many handshakes are on their way through the middleware at once, in a process.

    Raises:
        ValueError: ``limit`` is less than 1.
    """

    def __init__(self, application: _Application, *, limit: int = 8) -> None:
        if limit < 1:
            raise ValueError(f"limit must be 1 or more, got {limit!r}.")
        self._application = application
        self._limit = limit
        self._slots: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "websocket" or runs_thread_sensitive():  # as tests do, on their own database connection
            await self._application(scope, receive, send)
            return
        loop = asyncio.get_running_loop()
        if loop not in self._slots:
            self._slots[loop] = asyncio.Semaphore(self._limit)
        slots = self._slots[loop]
        await slots.acquire()
        handshake = _Handshake(slots, receive)
        token = _current.set(handshake)
        try:
            await handshake.begin()
            await self._application(scope, handshake.receive, send)
        finally:
            _current.reset(token)
            await handshake.end()


async def end_handshake(receive: Receive) -> Receive:
    """End the handshake's own thread, if it has one: the middleware is done. Return the server's ``receive``."""
    handshake = _current.get()
    if handshake is None:
        return receive
    await handshake.end()
    return handshake.original_receive if receive == handshake.receive else receive


class _Handshake:
    """One handshake on its way through the middleware."""

    def __init__(self, slots: asyncio.Semaphore, receive: Receive) -> None:
        self.original_receive = receive
        self._slots = slots
        self._has_slot = True
        self._context: Any = None  # asgiref's have no types
        self._task = asyncio.current_task()

    async def begin(self) -> None:
        """Take the thread; it starts with the first call."""
        context: Any = ThreadSensitiveContext()
        await context.__aenter__()
        self._context = context

    async def end(self) -> None:
        """Leave the thread, and the slot to another handshake."""
        try:
            # A middleware may serve the rest in a task of its own, which keeps the thread.
            if self._context is not None and asyncio.current_task() is self._task:
                context, self._context = self._context, None
                try:
                    await sync_to_async(_close_connections)()
                finally:
                    await context.__aexit__(None, None, None)
        finally:
            self._leave_slot()

    async def receive(self) -> dict[str, Any]:
        """See ASGI. Another consumer than ours keeps the thread, and must not keep the slot."""
        self._leave_slot()
        return await self.original_receive()

    def _leave_slot(self) -> None:
        if self._has_slot:
            self._has_slot = False
            self._slots.release()


_current: ContextVar[_Handshake | None] = ContextVar("django_etp_handshake", default=None)


def _close_connections() -> None:
    for connection in connections.all(initialized_only=True):
        connection.close()
