"""Handlers of the namespace "visits", for tests of sessions, users and logouts."""

import asyncio
from typing import Any
from urllib.parse import parse_qs

from django_etp import Connection, Event, etp_event, on_connect, rooms

NAMESPACE = "visits"

visits = rooms.of(NAMESPACE)

# The names of the users whose handshakes wait.
in_handshakes: list[str] = []


@on_connect(namespace=NAMESPACE)
async def do_as_the_query_says(connection: Connection) -> None:
    """Store `?name=…` in the data; wait for `?wait=…` seconds."""
    query = {key: values[0] for key, values in parse_qs(connection.scope["query_string"].decode()).items()}
    if "name" in query:
        connection.data["name"] = query["name"]
    in_handshakes.append(connection.user.get_username())
    try:
        await asyncio.sleep(float(query.get("wait", 0)))
    finally:
        in_handshakes.remove(connection.user.get_username())


@etp_event("id", namespace=NAMESPACE)
async def tell_id(connection: Connection, event: Event) -> str:
    return connection.id


@etp_event("whoami", namespace=NAMESPACE)
async def tell_user(connection: Connection, event: Event) -> str:
    return connection.user.get_username()


@etp_event("put", namespace=NAMESPACE)
async def put(connection: Connection, event: Event) -> None:
    connection.data.update(event.json())


@etp_event("get", namespace=NAMESPACE)
def get(connection: Connection, event: Event) -> Any:
    return dict(connection.data)


@etp_event("count", namespace=NAMESPACE)
async def count(connection: Connection, event: Event) -> Any:
    """Count in the data, and in a key of the session that the event names."""
    number: int = connection.data.get("count", 0) + 1
    connection.data["count"] = number
    if event.data:
        assert connection.session is not None
        connection.session[event.data] = number
    return number


@etp_event("join", namespace=NAMESPACE)
async def join(connection: Connection, event: Event) -> str:
    try:
        await connection.ajoin(event.data)
    except Exception as error:
        return type(error).__name__
    return "joined"


@etp_event("data", namespace=NAMESPACE)
async def tell_data_of(connection: Connection, event: Event) -> Any:
    return await visits.adata(event.data)


@etp_event("hubs", namespace=NAMESPACE)
async def tell_hubs(connection: Connection, event: Event) -> Any:
    """Return the hubs of all connections."""
    return sorted({id.partition(".")[0] for id in await visits.aconnection_ids()})
