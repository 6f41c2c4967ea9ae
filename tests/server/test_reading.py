"""The two receive loops of a connection."""

import asyncio
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from typing import Any

import pytest

from django_etp.protocol.closing import Disconnect
from django_etp.server.reading import read_by_calls, read_messages
from django_etp.uvicorn.incoming import Incoming

variable: ContextVar[str] = ContextVar("variable", default="")


class Reader:
    """Takes messages; those that begin with "wait" let the next one wait for `room`."""

    def __init__(self) -> None:
        self.taken: list[str | bytes] = []
        self.seen: list[str] = []
        self.room = asyncio.Event()

    def take(self, data: str | bytes) -> bool:
        self.taken.append(data)
        self.seen.append(variable.get())
        return data == "wait"

    async def make_room(self) -> None:
        await self.room.wait()


class Client:
    """Has sent messages, and then the end."""

    def __init__(self, *data: str | bytes) -> None:
        self.incoming = Incoming(100)
        for each in data:
            self.incoming.put(each)
        self.incoming.end({"type": "websocket.disconnect", "code": 4000, "reason": "why"})

    async def receive(self) -> dict[str, Any]:
        return await self.incoming.receive(lambda: None)

    async def send(self, message: dict[str, Any]) -> None:
        raise NotImplementedError

    def offer(self, text: str) -> bool:
        raise NotImplementedError

    def receive_by(self, take: Callable[[str | bytes], bool]) -> Any:
        return self.incoming.pass_to(take, lambda: None)


def read(by_calls: bool, client: Client, reader: Reader) -> Any:
    context = copy_context()
    context.run(variable.set, "of the handshake")
    if by_calls:
        return read_by_calls(client, reader, context)
    return context.run(asyncio.create_task, read_messages(client.receive, client.send, reader))


@pytest.mark.parametrize("by_calls", [False, True])
async def test_messages_are_taken_in_order_until_the_end(by_calls: bool) -> None:
    reader = Reader()
    assert await read(by_calls, Client("a", b"b", "c"), reader) == Disconnect(4000, "why")
    assert reader.taken == ["a", b"b", "c"]
    assert reader.seen == ["of the handshake"] * 3


@pytest.mark.parametrize("by_calls", [False, True])
async def test_the_next_message_waits_for_room(by_calls: bool) -> None:
    reader = Reader()
    reading = asyncio.ensure_future(read(by_calls, Client("a", "wait", "b"), reader))
    for _ in range(5):
        await asyncio.sleep(0)
    assert reader.taken == ["a", "wait"]
    reader.room.set()
    assert await reading == Disconnect(4000, "why")
    assert reader.taken == ["a", "wait", "b"]


async def test_a_message_with_neither_text_nor_bytes_is_an_empty_one() -> None:
    messages = iter([{"type": "websocket.receive"}, {"type": "websocket.disconnect", "code": 1000}])

    async def receive() -> dict[str, Any]:
        return next(messages)

    reader = Reader()
    assert await read_messages(receive, receive, reader) == Disconnect(1000, "")  # type: ignore[arg-type]
    assert reader.taken == [b""]
