"""The same handlers on python-socketio's server."""

import asyncio
import os

import socketio

from benchmarks.harness.bursts import Burst

_broker = os.environ.get("BENCHMARK_BROKER")
server = socketio.AsyncServer(
    async_mode="asgi",
    ping_interval=3600,  # no pings during the measurement, as with the others
    client_manager=socketio.AsyncRedisManager(_broker) if _broker else None,
)
application = socketio.ASGIApp(server)


@server.event
async def echo(sid: str, data: str) -> str:
    return data


@server.event
async def join(sid: str, data: str) -> str:
    await server.enter_room(sid, data)
    return ""


@server.event
async def burst(sid: str, data: str) -> str:
    wanted = Burst.read(data)
    for text in wanted.texts():
        await server.emit("news", text, room=wanted.room)
        if wanted.pause:
            await asyncio.sleep(wanted.pause)
    return ""
