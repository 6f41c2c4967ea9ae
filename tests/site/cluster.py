"""Handlers of the namespace "cluster", for tests of rooms across processes.

Results are ``Any``, as in the other modules of the site: with a type, each of many servers would import pydantic.
"""

import asyncio
from contextlib import aclosing
from dataclasses import fields, is_dataclass
from itertools import count
from typing import Any
from uuid import UUID

from django_etp import (
    Connection,
    Disconnect,
    Event,
    MessagesLost,
    etp_event,
    etp_room,
    on_connect,
    on_disconnect,
    on_error,
    rooms,
)
from tests.site.exercise import NAMESPACE, aexercise_all, exercise_all

cluster = rooms.of(NAMESPACE)
lost: list[list[Any]] = []


@on_connect(namespace=NAMESPACE)
async def join_what_the_query_names(connection: Connection) -> None:
    names = connection.scope["query_string"].decode()
    await connection.ajoin(*[name for name in names.split(",") if name])


@on_disconnect(namespace=NAMESPACE)
async def say_farewell(connection: Connection, disconnect: Disconnect) -> None:
    """Report members that leave to the room "farewells"."""
    if "farewells" in connection.rooms:
        await cluster.aemit("farewells", f"farewell-{connection.id}")


@on_error(namespace=NAMESPACE)
async def note_losses(connection: Connection | None, error: Exception) -> None:
    if isinstance(error, MessagesLost):
        lost.append([error.group, error.messages, error.frames])


@etp_event("id", namespace=NAMESPACE)
async def tell_id(connection: Connection, event: Event) -> str:
    return connection.id


@etp_event("numbers", namespace=NAMESPACE)
async def numbers(connection: Connection, event: Event) -> Any:
    """Stream so many numbers, or endlessly many if nothing is sent, and emit how many once the stream has ended."""
    number = 0
    try:
        for number in range(int(event.data)) if event.data else count():
            yield {"number": number}
            await asyncio.sleep(0.001)
    finally:
        await connection.aemit("numbers ended", number)


@etp_event("join", namespace=NAMESPACE)
async def join(connection: Connection, event: Event) -> None:
    await connection.ajoin(*event.json())


@etp_event("leave", namespace=NAMESPACE)
async def leave(connection: Connection, event: Event) -> None:
    await connection.aleave(*event.json())


@etp_event("emit", namespace=NAMESPACE)
async def emit(connection: Connection, event: Event) -> None:
    await cluster.aemit(*event.json())


@etp_event("emit_sync", namespace=NAMESPACE)
def emit_sync(connection: Connection, event: Event) -> None:
    cluster.emit(*event.json())


@etp_event("burst", namespace=NAMESPACE)
async def burst(connection: Connection, event: Event) -> Any:
    """Emit [room, sender, count] without a pause."""
    room, sender, count = event.json()
    for number in range(count):
        await cluster.aemit(room, "burst", f"{sender}:{number}")
    return int(count)


@etp_event("heavy", namespace=NAMESPACE)
async def heavy(connection: Connection, event: Event) -> Any:
    """Emit [room, size, count]: events with so many characters."""
    room, size, count = event.json()
    for number in range(count):
        await cluster.aemit(room, "heavy", f"{number}:".ljust(size, "x"))
    return int(count)


@etp_event("call", namespace=NAMESPACE)
async def call(connection: Connection, event: Event) -> Any:
    """Call [name, arguments, keywords] of the rooms API, and return its result or exception."""
    name, arguments, keywords = event.json()
    try:
        result = await getattr(cluster, f"a{name}")(*arguments, **keywords)
    except Exception as error:
        return {"error": type(error).__name__, "answer": plain(getattr(error, "answer", None))}
    return {"result": plain(result)}


@etp_event("call_sync", namespace=NAMESPACE)
def call_sync(connection: Connection, event: Event) -> Any:
    """Like call, from a plain handler."""
    name, arguments, keywords = event.json()
    try:
        result = getattr(cluster, name)(*arguments, **keywords)
    except Exception as error:
        return {"error": type(error).__name__, "answer": plain(getattr(error, "answer", None))}
    return {"result": plain(result)}


@etp_event("exercise", namespace=NAMESPACE)
async def do_exercise(connection: Connection, event: Event) -> Any:
    return await aexercise_all(**event.json())


@etp_event("exercise_sync", namespace=NAMESPACE)
def do_exercise_sync(connection: Connection, event: Event) -> Any:
    return exercise_all(**event.json())


@etp_event("lost", namespace=NAMESPACE)
async def tell_losses(connection: Connection, event: Event) -> Any:
    return lost


@etp_event("block", namespace=NAMESPACE)
async def block(connection: Connection, event: Event) -> None:
    await asyncio.sleep(event.json())


def plain(value: Any) -> Any:
    """Return a result of the rooms API as JSON values; a UUID as its repr, to distinguish it from text."""
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    return repr(value) if isinstance(value, UUID) else value


shut_rooms: set[str] = set()


@etp_room("declared/<slug:name>", namespace=NAMESPACE)
async def declared_room(connection: Connection, name: str) -> Any:
    return {"name": name}


@etp_room("present/<slug:name>", namespace=NAMESPACE, presence=lambda connection, name: {"who": who(connection)})
async def present_room(connection: Connection, name: str) -> None: ...


def who(connection: Connection) -> str:
    return str(connection.scope["query_string"].decode())


@declared_room.allow
def may_enter(user: Any, name: str) -> bool:
    return name not in shut_rooms


@declared_room.event("say")
async def say(connection: Connection, event: Event, name: str) -> str:
    await cluster.aemit(declared_room(name=name), "said", event.data, exclude=connection)
    return event.data


@declared_room.event("numbers")
async def numbers_inside(connection: Connection, event: Event, name: str) -> Any:
    """See numbers()."""
    async with aclosing(numbers(connection, event)) as stream:
        async for number in stream:
            yield number


@etp_event("shut", namespace=NAMESPACE)
async def shut(connection: Connection, event: Event) -> None:
    """Let the clients of this process no longer enter the declared room of this name."""
    shut_rooms.add(event.json())
