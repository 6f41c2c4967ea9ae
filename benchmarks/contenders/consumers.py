"""The same handlers on Channels' own consumers, written by hand as its documentation shows."""

import asyncio
from typing import Any

from channels.generic.websocket import AsyncJsonWebsocketConsumer, AsyncWebsocketConsumer

from benchmarks.harness.bursts import Burst


class TextConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]  # Channels has no types
    """Send and receive ETP frames."""

    async def connect(self) -> None:
        self.rooms: set[str] = set()
        await self.accept()

    async def disconnect(self, code: int) -> None:
        for room in self.rooms:
            await self.channel_layer.group_discard(room, self.channel_name)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        assert text_data is not None
        name, ack_id, data = text_data.split("||", 2)
        answer = ""
        if name == "echo":
            answer = data
        elif name == "join":
            self.rooms.add(data)
            await self.channel_layer.group_add(data, self.channel_name)
        elif name == "burst":
            await send_burst(self.channel_layer, Burst.read(data))
        await self.send(text_data=f"__ack_{name}||{ack_id}||{answer}")

    async def news(self, message: dict[str, Any]) -> None:
        await self.send(text_data=f"news||0||{message['text']}")


class JsonConsumer(AsyncJsonWebsocketConsumer):  # type: ignore[misc]
    """Send and receive JSON."""

    async def connect(self) -> None:
        self.rooms: set[str] = set()
        await self.accept()

    async def disconnect(self, code: int) -> None:
        for room in self.rooms:
            await self.channel_layer.group_discard(room, self.channel_name)

    async def receive_json(self, content: dict[str, Any], **kwargs: Any) -> None:
        answer = ""
        if content["event"] == "echo":
            answer = content["data"]
        elif content["event"] == "join":
            self.rooms.add(content["data"])
            await self.channel_layer.group_add(content["data"], self.channel_name)
        elif content["event"] == "burst":
            await send_burst(self.channel_layer, Burst.read(content["data"]))
        await self.send_json({"ack": content["ack"], "data": answer})

    async def news(self, message: dict[str, Any]) -> None:
        await self.send_json({"event": "news", "data": message["text"]})


async def send_burst(layer: Any, burst: Burst) -> None:
    """Send a burst to a group."""
    for text in burst.texts():
        await layer.group_send(burst.room, {"type": "news", "text": text})
        if burst.pause:
            await asyncio.sleep(burst.pause)
