"""The receive loops of a connection: by ASGI messages, or by calls if the server offers them.

Rules kept here:

- Messages that have arrived are taken without a turn of the loop, unless one has to wait for the events before it: in
  a turn these may end.
- Under daphne the socket is paused while many messages wait: daphne queues what it reads without a limit.
- By calls no task wakes up for a message. It is taken in the context variables of the handshake nevertheless.
"""

import asyncio
from contextvars import Context
from functools import partial
from typing import Protocol

from django_etp.connections.asgi import Receive, Send, disconnect_of
from django_etp.connections.direct import Server
from django_etp.connections.transport import Resume, keep_short, unbounded_queue
from django_etp.protocol.closing import Disconnect

__all__ = ["read_by_calls", "read_messages"]


class Reader(Protocol):
    """Takes the messages of a client."""

    def take(self, data: str | bytes) -> bool:
        """Act on the data of a message; return whether the next one waits for the events before it."""

    async def make_room(self) -> None:
        """Wait until the next message may be taken."""


async def read_messages(receive: Receive, send: Send, reader: Reader) -> Disconnect:
    """Receive messages until the connection ends; return how."""
    take = reader.take
    queue = unbounded_queue(receive, send)
    resume: Resume | None = None
    while True:
        message = await receive()
        if message["type"] != "websocket.receive":
            return disconnect_of(message)
        text = message.get("text")
        data: str | bytes = message.get("bytes") or b"" if text is None else text
        is_waiting = take(data)
        # A large message is not kept in memory until the next one arrives.
        del message, text, data
        if is_waiting:
            await asyncio.sleep(0)
            await reader.make_room()
        if queue is not None:
            resume = keep_short(queue, send, resume)


async def read_by_calls(server: Server, reader: Reader, context: Context) -> Disconnect:
    """Let the server pass messages on until the connection ends; return how."""
    take = partial(context.run, reader.take)  # type: ignore[call-arg]  # mypy takes the argument for one of run()
    while (message := await server.receive_by(take)) is None:
        await asyncio.sleep(0)
        await reader.make_room()
    return disconnect_of(message)
