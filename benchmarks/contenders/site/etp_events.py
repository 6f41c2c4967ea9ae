"""The measured handlers, as users of django_etp would write them."""

import asyncio
import statistics
import time

from django.conf import settings
from redis.asyncio import Redis

from benchmarks.harness.bursts import Burst
from django_etp import Connection, Event, History, etp_event, etp_room, rooms


@etp_event("echo")
async def echo(connection: Connection, event: Event) -> str:
    return event.data


@etp_event("echo_in_thread")
def echo_in_thread(connection: Connection, event: Event) -> str:
    return event.data


@etp_event("echo_and_count")
async def echo_and_count(connection: Connection, event: Event) -> str:
    connection.data["count"] = connection.data.get("count", 0) + 1
    return event.data


@etp_event("join")
async def join(connection: Connection, event: Event) -> None:
    await connection.ajoin(event.data)


@etp_event("leave")
async def leave(connection: Connection, event: Event) -> None:
    await connection.aleave(event.data)


@etp_room("declared/<int:number>")
async def declared(connection: Connection, number: int) -> None:
    pass


@declared.allow
async def may_enter(user: object, number: int) -> bool:
    return number >= 0


@etp_room("kept/<int:number>", history=History(size=1000, seconds=3600))
async def kept(connection: Connection, number: int) -> None: ...


@etp_event("emit_many")
async def emit_many(connection: Connection, event: Event) -> None:
    """Emit so many events to a room, some at a time."""
    room, emits, at_once = event.data.split()
    texts = Burst(room, int(emits)).texts()

    async def emit() -> None:
        for text in texts:
            await rooms.aemit(room, "news", text)

    await asyncio.gather(*(emit() for _ in range(int(at_once))))


@etp_event("burst")
async def burst(connection: Connection, event: Event) -> None:
    wanted = Burst.read(event.data)
    for text in wanted.texts():
        await rooms.aemit(wanted.room, "news", text)
        if wanted.pause:
            await asyncio.sleep(wanted.pause)


@etp_event("join_and_leave")
async def join_and_leave(connection: Connection, event: Event) -> float:
    """Join this many rooms one after the other, then leave them; return the seconds that this took."""
    names = [f"passing-{number}" for number in range(int(event.data))]
    start = time.perf_counter()
    for name in names:
        await connection.ajoin(name)
    for name in names:
        await connection.aleave(name)
    return time.perf_counter() - start


@etp_event("join_many")
async def join_many(connection: Connection, event: Event) -> None:
    await connection.ajoin(*(f"kept-{number}" for number in range(int(event.data))))


@etp_event("ask_members")
async def ask_members(connection: Connection, event: Event) -> list[float]:
    """Query the members of a room, and send the broker an empty request; return both medians in seconds."""
    room, times = event.data.split()
    questions, round_trips = [], []
    async with Redis.from_url(settings.BROKER_URL) as broker:
        await broker.ping()
        for _ in range(int(times)):
            start = time.perf_counter()
            await rooms.amembers(room)
            between = time.perf_counter()
            await broker.ping()
            questions.append(between - start)
            round_trips.append(time.perf_counter() - between)
    return [statistics.median(questions), statistics.median(round_trips)]


async def visible(connection: Connection, size: int) -> dict[str, str]:
    return {"name": connection.id[-8:]}


@etp_room("crowd/<int:size>", presence=visible)
async def crowd(connection: Connection, size: int) -> None: ...


@etp_room("hall/<int:size>")
async def hall(connection: Connection, size: int) -> None: ...
