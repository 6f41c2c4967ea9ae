"""A client's events about declared rooms: join, leave, and events inside a room.

Rules kept here:

- The order of a join is: login, permissions, the function of ``allow``, the join handler.
- The connection gets the events of the room from before the join handler runs, so that none is missed after the handler
  has read the state. They follow the answer.
- A second join is checked and answered anew. It is the same membership, unless it is refused, which ends that.
- An event inside a room is for members that joined by ``__join``.
"""

import inspect
from collections.abc import Callable
from typing import Any

from django_etp.concurrency.workers import run_handler
from django_etp.connections.connection import Connection
from django_etp.connections.peer import Peer
from django_etp.exceptions import EventFailed, InvalidPayload
from django_etp.protocol.frames import ROOMS_SUBPROTOCOL, Event
from django_etp.protocol.rooms import IN, JOIN, LEAVE, read_in_room
from django_etp.serialization import to_text

from .access import call_limited, check_access, refusal_of, user_of
from .current import running_event
from .errors import failure_of
from .guests import Report, RoomGuest
from .handlers import call, run_answering
from .namespaces import Namespace

__all__ = ["handle_room_event", "is_room_event"]


def is_room_event(event: Event, peer: Peer) -> bool:
    """Return whether an event is about declared rooms; only a client that offered ``etp.ext.v2`` sends such events."""
    name = event.name
    return (name in (JOIN, LEAVE) or (name.startswith(IN) and read_in_room(event) is not None)) and (
        ROOMS_SUBPROTOCOL in peer.scope.get("subprotocols", ())
    )


async def handle_room_event(
    handlers: Namespace, peer: Peer, connection: Connection, event: Event, report: Report
) -> object:
    """Handle an event about declared rooms, and return the answer. ``report`` takes errors of ``on_leave``.

    Raises:
        EventFailed: the event is refused; other errors of the application's functions too.
    """
    if event.name == JOIN:
        return await _join(handlers, peer, connection, _room_in(event), report)
    if event.name == LEAVE:
        guest = peer.hub.membership.guests.get(peer.id, _room_in(event))
        if isinstance(guest, RoomGuest):
            await guest.leave()
        return None
    return await _handle_inside(peer, connection, event)


def _room_in(event: Event) -> str:
    try:
        match event.json():
            case {"room": str(room)}:
                return room
    except InvalidPayload:
        pass
    raise EventFailed("invalid_payload", f'{event.name} needs the data {{"room": "<name>"}}.')


async def _join(handlers: Namespace, peer: Peer, connection: Connection, name: str, report: Report) -> str:
    """Let a connection join, and return the answer. Events that were held for it are delivered behind the answer."""
    guest = peer.hub.membership.guests.get(peer.id, name)
    if not isinstance(guest, RoomGuest):
        found = handlers.find_room(name)
        if found is None:
            raise EventFailed("not_found", f"There is no room {name[:80]!r}.")
        room, parameters = found
        guest = RoomGuest(room, name, parameters, peer, connection, report)
    await guest.begin_turn()
    try:
        guest.refuse_ended()
        answer = await _enter(guest, connection)
    except BaseException as error:
        refusal = refusal_of(error, name)
        await guest.put_out(failure_of(refusal))
        if refusal is error:
            raise
        raise refusal from error
    finally:
        guest.end_turn()
    guest.is_inside = True
    # The answer goes out before the event loop turns: nothing is left to be saved.
    peer.hub.loop.call_soon(guest.release)
    return answer


async def _enter(guest: RoomGuest, connection: Connection) -> str:
    """Check a join, make the connection a member, and return the state of the room, ready to be sent."""
    room, peer = guest.room, guest.peer
    if room.has_rules:
        user = await user_of(peer, anew=bool(room.permissions))
        await check_access(room, guest.parameters, user, owner=peer.id)
        guest.refuse_ended()
    await guest.enter()
    guest.refuse_ended()
    handler = room.join_handler.with_parameters(guest.parameters)
    result = await call_limited(handler, _run_answering, connection)
    guest.record_handled()
    answer = result.text if isinstance(result, _Answer) else _answer_of(result).text
    if peer.has_unsaved:
        await peer.save()
        guest.refuse_ended()
    if room.has_presence:
        from .attendance import attend  # which imports the package of presence

        answer = f"{answer[:-1]},{await attend(guest, connection)}}}"
    return answer


class _Answer:
    """The text that answers a join."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


def _answer_of(state: object) -> _Answer:
    return _Answer(to_text({"state": state}))


async def _run_answering(function: Callable[..., Any], connection: Connection) -> Any:
    return await run_handler(_run_plain, function, connection, owner=connection.id)


def _run_plain(function: Callable[..., Any], connection: Connection) -> Any:
    # The text is made in the thread of the handler, see run_answering().
    result = function(connection)
    return result if inspect.isawaitable(result) else _answer_of(result)


async def _handle_inside(peer: Peer, connection: Connection, event: Event) -> object:
    found = read_in_room(event)
    guest = peer.hub.membership.guests.get(peer.id, found[0]) if found is not None else None
    if found is None or not isinstance(guest, RoomGuest) or not guest.is_inside:
        raise EventFailed("permission_denied", "The event is for members of the room, and this connection is none.")
    handler = guest.room.events.get(found[1].name)
    if handler is None:
        raise EventFailed("unknown_event", f"No handler for the event {found[1].name[:80]!r} in this room.")
    if running := running_event.get():
        running[0] = found[1]
    return await call(handler.with_parameters(guest.parameters), run_answering, connection, found[1])
