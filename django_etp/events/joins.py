"""A client's events about declared rooms: join, leave, and events inside a room.

Rules kept here:

- The order of a join is: login, permissions, the function of ``allow``, the join handler.
- The connection gets the events of the room from before the join handler runs, so that none is missed after the handler
  has read the state. They follow the answer.
- A room with history answers with a position, and whether the client gets all that it missed since its own position.
- A second join is checked and answered anew. It is the same membership, unless it is refused, which ends that.
- An event inside a room is for members that joined by ``__join``.
"""

import inspect
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, final

from django_etp.concurrency.workers import run_handler
from django_etp.connections.connection import Connection
from django_etp.connections.peer import Peer
from django_etp.exceptions import EventFailed, InvalidPayload
from django_etp.protocol.frames import ROOMS_SUBPROTOCOL, Event, encode_answer
from django_etp.protocol.past import HISTORY
from django_etp.protocol.rooms import IN, JOIN, LEAVE, read_in_room
from django_etp.schemas.plain import NoData, Text
from django_etp.schemas.schema import Writer
from django_etp.serialization import to_text

from .access import call_limited, check_access, refusal_of, user_of
from .around import Around
from .current import running_event
from .errors import failure_of
from .finishing import Finishing
from .guests import Report, RoomGuest
from .handlers import call, run_answering
from .limits import RateLimited
from .namespaces import Namespace
from .past import answer_with_past
from .streams import Stream

__all__ = ["handle_room_event", "is_room_event"]

_Handle = Callable[..., Coroutine[Any, Any, Any]]


def is_room_event(event: Event, peer: Peer) -> bool:
    """Return whether an event is about declared rooms; only a client that offered ``etp.ext.v2`` sends such events."""
    name = event.name
    return (name in (JOIN, LEAVE, HISTORY) or (name.startswith(IN) and read_in_room(event) is not None)) and (
        ROOMS_SUBPROTOCOL in peer.scope.get("subprotocols", ())
    )


async def handle_room_event(
    handlers: Namespace,
    peer: Peer,
    connection: Connection,
    event: Event,
    report: Report,
    around: Around | None = None,
) -> object:
    """Handle an event about declared rooms, and return the answer.

    Args:
        handlers: those of the connection's namespace.
        peer: the connection.
        connection: the handle of the connection.
        event: the event, as it came.
        report: takes errors of ``on_leave``.
        around: runs the functions around the event; ``None`` if there are none.

    Raises:
        EventFailed: the event is refused; other errors of the application's functions too.
    """
    inside = read_in_room(event)
    room, event = inside or (_room_in(event), event)
    guest = peer.hub.membership.guests.get(peer.id, room)
    if running := running_event.get():
        running[:] = event, handlers, room, guest.room if isinstance(guest, RoomGuest) else None
    if inside is None and event.name == JOIN:
        return await _join(handlers, peer, connection, event, room, report, around)
    handle: _Handle = _OTHERS[event.name] if inside is None else _handle_inside
    if around is None:
        result = await handle(peer, room, None, connection, event)
    else:
        result = await around.run(connection, event, partial(handle, peer, room, around))
    if type(result) is Stream and isinstance(guest, RoomGuest):
        guest.refuse_ended()  # the membership has ended before the stream has begun
    return result


def _room_in(event: Event) -> str:
    try:
        match event.json():
            case {"room": str(room)}:
                return room
    except InvalidPayload:
        pass
    raise EventFailed("invalid_payload", f'{event.name} needs the data {{"room": "<name>"}}.')


async def _leave(peer: Peer, room: str, around: Around | None, connection: Connection, event: Event) -> None:
    guest = peer.hub.membership.guests.get(peer.id, room)
    if isinstance(guest, RoomGuest):
        await guest.leave()


async def _join(
    handlers: Namespace,
    peer: Peer,
    connection: Connection,
    event: Event,
    name: str,
    report: Report,
    around: Around | None,
) -> Finishing:
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
        answer = await _enter(guest, connection, event, around)
    except BaseException as error:
        refusal = refusal_of(error, name)
        if not (guest.is_inside and isinstance(error, RateLimited)):  # the connection may still be in the room
            await guest.put_out(failure_of(refusal))
        if refusal is error:
            raise
        raise refusal from error
    finally:
        guest.end_turn()
    guest.is_inside = True
    return _Joined(guest, answer)


@final
class _Joined(Finishing):
    """The answer to a join. It goes out before the event loop turns, so that the end of the membership comes later."""

    __slots__ = ("_answer", "_guest")

    def __init__(self, guest: RoomGuest, answer: str) -> None:
        self._guest = guest
        self._answer = answer

    async def finish(self, peer: Peer, event: Event, save: Callable[[], Awaitable[None]]) -> None:
        """See Finishing: send the answer, and the events that were held for it."""
        if event.ack_id:
            peer.deliver(encode_answer(event, self._answer))
        self._guest.release()
        await save()  # what other handlers have changed since _enter()


async def _enter(guest: RoomGuest, connection: Connection, event: Event, around: Around | None) -> str:
    """Check a join, make the connection a member, and return the state of the room, ready to be sent."""
    room, peer = guest.room, guest.peer
    if around is None:
        parts: dict[str, Any] = {}
        make_answer = partial(_answer_of, parts, room.state_writer)
        result = await _run_join(guest, partial(_run_answering, make_answer), parts, connection, event)
        answer = await _text_of(result, room.state_writer, make_answer, connection)
    else:
        answer = await _enter_inside(guest, connection, event, around)
    encode_answer(event, answer)  # before anything else depends on the join, as it may be no valid text
    if peer.has_unsaved:
        await peer.save()
        guest.refuse_ended()
    if room.has_presence:
        from .attendance import attend  # which imports the package of presence

        answer = f"{answer[:-1]},{await attend(guest, connection)}}}"
    return answer


async def _enter_inside(guest: RoomGuest, connection: Connection, event: Event, around: Around) -> str:
    """Do what _enter() does, inside of the functions around the event."""
    is_checked = False
    made: object = None
    parts: dict[str, Any] = {}

    async def handle(connection: Connection, event: Event) -> Any:
        nonlocal is_checked, made
        made = await _run_join(guest, around.run_in_thread, parts, connection, event)
        is_checked = True
        return made

    result = await around.run(connection, event, handle)
    if not is_checked:  # a function has answered in place of the handler, or of a refusal
        raise EventFailed("permission_denied", "The join was answered without its checks.")
    writer = guest.room.state_writer if type(result) is type(made) else None
    make_answer, uses_database = partial(_answer_of, parts, writer), writer is not None and writer.uses_database
    answer: str = await around.text_of(result, connection, make_answer, uses_database=uses_database)
    guest.refuse_ended()
    return answer


async def _run_join(
    guest: RoomGuest,
    run_in_thread: Callable[..., Coroutine[Any, Any, Any]],
    parts: dict[str, Any],
    connection: Connection,
    event: Event,
) -> Any:
    """Check a join, make the connection a member, and return what the join handler returns.

    ``parts`` gets what the answer holds beside that.
    """
    room, peer = guest.room, guest.peer
    if room.has_rules:
        user = await user_of(peer, anew=bool(room.permissions))
        await check_access(room, guest.parameters, user, owner=peer.id)
        guest.refuse_ended()
    await guest.enter()
    guest.refuse_ended()
    if room.history is not None:
        # Before the join handler: the state that it reads is never older than the position.
        parts |= await guest.recover(event.json().get("since"))
        guest.refuse_ended()
    handler = room.join_handler.with_parameters(guest.parameters)
    result = await call_limited(handler, run_in_thread, connection)
    guest.record_handled()
    return result


def _answer_of(parts: dict[str, Any], writer: Writer | None, state: object) -> str:
    """Return the answer to a join; ``writer`` is that of the state, if the join handler declares a type."""
    if writer is None:
        return to_text({"state": state, **parts})
    text = writer.write(state)
    if isinstance(writer, Text | NoData):  # which have checked it, and write no JSON
        return to_text({"state": state, **parts})
    return f'{{"state":{text or "null"}{f",{to_text(parts)[1:-1]}" if parts else ""}}}'


class _Answer(str):
    """The answer to a join, which was made in the thread of the handler; no state is one."""

    __slots__ = ()


async def _text_of(
    result: object, writer: Writer | None, make_answer: Callable[[object], str], connection: Connection
) -> str:
    if isinstance(result, _Answer):
        return result
    if writer is not None and writer.uses_database:
        return str(await run_handler(make_answer, result, owner=connection.id))
    return make_answer(result)


async def _run_answering(
    make_answer: Callable[[object], str], function: Callable[..., Any], connection: Connection
) -> Any:
    return await run_handler(_run_plain, make_answer, function, connection, owner=connection.id)


def _run_plain(make_answer: Callable[[object], str], function: Callable[..., Any], connection: Connection) -> Any:
    # The text is made in the thread of the handler, see run_answering().
    result = function(connection)
    return result if inspect.isawaitable(result) else _Answer(make_answer(result))


async def _read_past(peer: Peer, room: str, around: Around | None, connection: Connection, event: Event) -> Any:
    return await answer_with_past(_guest_inside(peer, room), event)


async def _handle_inside(peer: Peer, room: str, around: Around | None, connection: Connection, event: Event) -> Any:
    guest = _guest_inside(peer, room)
    handler = guest.room.events.get(event.name)
    if handler is None:
        raise EventFailed("unknown_event", f"No handler for the event {event.name[:80]!r} in this room.")
    if around is not None:
        return await around.call(handler.with_parameters(guest.parameters), connection, event)
    if handler.limit is not None:
        await handler.limit.check(connection, event)
    return await call(handler, run_answering, connection, event, **guest.parameters)


def _guest_inside(peer: Peer, room: str) -> RoomGuest:
    guest = peer.hub.membership.guests.get(peer.id, room)
    if not isinstance(guest, RoomGuest) or not guest.is_inside:
        raise EventFailed("permission_denied", "The event is for members of the room, and this connection is none.")
    return guest


_OTHERS: dict[str, _Handle] = {LEAVE: _leave, HISTORY: _read_past}
