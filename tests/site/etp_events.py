"""Exactly the handlers of the reference server in the transcripts."""

import asyncio
from typing import Any

from django_etp import AckTimeout, Connection, Event, etp_event, on_connect, rooms


@on_connect
async def join_all(connection: Connection) -> None:
    await connection.ajoin("all")


@etp_event("hello")
async def hello(connection: Connection, event: Event) -> str:
    return "hello handled"


@etp_event("echo")
async def echo(connection: Connection, event: Event) -> str:
    return event.data


@etp_event("nil")
async def nil(connection: Connection, event: Event) -> None:
    return None


@etp_event("empty")
async def empty(connection: Connection, event: Event) -> str:
    return ""


@etp_event("slow")
async def slow(connection: Connection, event: Event) -> str:
    await asyncio.sleep(0.3)
    return "slow done"


@etp_event("ask")
async def ask(connection: Connection, event: Event) -> str:
    try:
        answer = await connection.aemit_with_ack("question", event.data, timeout=1)
    except AckTimeout:
        return "err:failed to wait ack: context deadline exceeded"  # the text of the reference server
    return f"got:{answer.data}"


@etp_event("broadcast")
async def broadcast(connection: Connection, event: Event) -> Any:
    await rooms.aemit("all", "news", event.data)
    return await rooms.acount("all")


@etp_event("bye")
async def bye(connection: Connection, event: Event) -> str:
    await connection.aclose()
    return "after close"


@etp_event("")
async def empty_name(connection: Connection, event: Event) -> str:
    return "empty name handled"
