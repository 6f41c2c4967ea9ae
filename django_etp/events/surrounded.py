"""Handle an event inside of the functions around it; without such functions the dispatcher calls handlers by itself."""

from collections.abc import Awaitable, Callable
from typing import Any

from django_etp.connections.connection import Connection
from django_etp.connections.peer import Peer
from django_etp.exceptions import EventFailed
from django_etp.protocol.frames import RESERVED_PREFIX, Event

from .around import Around
from .finishing import Finishing
from .joins import is_room_event
from .namespaces import Namespace

__all__ = ["run_event"]


async def run_event(
    handlers: Namespace,
    peer: Peer,
    connection: Connection,
    event: Event,
    handle_other: Callable[[Event, Around], Awaitable[Any]],
) -> Any:
    """Run the handler of an event inside of all functions; return the answer as text, or what sends its own answer.

    ``handle_other`` handles an event that has no handler in the namespace. It calls ``Around.run()`` by itself for an
    event about declared rooms, between the steps that are the library's own.
    """
    around = Around()

    async def handle(connection: Connection, event: Event) -> Any:
        handler = handlers.events.get(event.name)
        return await (handle_other(event, around) if handler is None else around.call(handler, connection, event))

    if event.name.startswith(RESERVED_PREFIX) and is_room_event(event, peer):
        result = await _run_in_room(around, connection, event, handle_other)
    else:
        result = await around.run(connection, event, handle)
    return result if isinstance(result, Finishing) or not event.ack_id else await around.text_of(result, connection)


async def _run_in_room(
    around: Around, connection: Connection, event: Event, handle_other: Callable[[Event, Around], Awaitable[Any]]
) -> Any:
    try:
        return await handle_other(event, around)
    except EventFailed as error:
        if around.has_run:
            raise
        refusal = error

    async def refuse(connection: Connection, event: Event) -> None:
        raise refusal

    # A malformed event, or a room that is not there: the functions see such events, too.
    return await around.run(connection, event, refuse)
