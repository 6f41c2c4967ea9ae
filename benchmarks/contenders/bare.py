"""The limit of a server: an ASGI application without a framework that does only what is measured."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any

from benchmarks.harness.bursts import Burst

_Send = Callable[[dict[str, Any]], Awaitable[None]]

_rooms: defaultdict[str, set[_Send]] = defaultdict(set)


async def application(scope: dict[str, Any], receive: Callable[[], Awaitable[dict[str, Any]]], send: _Send) -> None:
    """Answer events, and send bursts to rooms."""
    if scope["type"] != "websocket":
        raise ValueError(f"This application serves WebSockets alone, got {scope['type']!r}.")
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        text = message["text"]
        if text.startswith("echo"):
            await send({"type": "websocket.send", "text": text})
            continue
        name, ack_id, data = text.split("||", 2)
        if name == "join":
            _rooms[data].add(send)
        elif name == "burst":
            await _burst(Burst.read(data))
        await send({"type": "websocket.send", "text": f"__ack_{name}||{ack_id}"})
    for members in _rooms.values():
        members.discard(send)


async def _burst(burst: Burst) -> None:
    members = tuple(_rooms[burst.room])
    for text in burst.texts():
        frame = f"news||0||{text}"
        for send in members:
            await send({"type": "websocket.send", "text": frame})
        if burst.pause:
            await asyncio.sleep(burst.pause)
