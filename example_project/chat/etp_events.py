"""What the chat does on each event. django_etp finds this module by its name in every installed app.

A handler is a coroutine function, which runs on the event loop, or a plain function, which runs in a thread of its own,
where the ORM is fine. What it returns answers the browser's `emitWithAck`: a string as it is, anything else as JSON.
"""

import threading
import time
from typing import Any

from django.contrib.auth.models import User

from django_etp import (
    Connection,
    Disconnect,
    Event,
    IncompleteAnswer,
    RejectConnection,
    etp_event,
    on_connect,
    on_disconnect,
    rooms,
)

from .forms import MessageForm, RoomForm, first_error
from .models import Message, Room

HISTORY_LENGTH = 50


@on_connect
async def welcome(connection: Connection) -> None:
    """Let in who is logged in; `connection.user` is the user of the Django session."""
    if not connection.user.is_authenticated:
        # Without the accept this is HTTP 403, of which a browser's script learns nothing and tries again. After it, the
        # socket closes with 4403, and etp.js stays away.
        await connection.aaccept()
        raise RejectConnection("Log in first")
    # Anything JSON can hold; it lives as long as the connection, and the session's own keys as long as the login.
    connection.data["name"] = connection.user.get_username()
    connection.data["room"] = None


@etp_event("enter")
def enter(connection: Connection, event: Event) -> dict[str, Any]:
    """Go into a room, and out of the last one. A plain function: it reads the room's history from the database."""
    form = RoomForm(_fields(event))
    if not form.is_valid():
        return {"error": first_error(form)}
    room = form.cleaned_data["room"]
    with _one_move_at_a_time:
        connection.leave(*(connection.rooms - {room}))
        connection.join(room)
        connection.data["room"] = room
        connection.session["room"] = room  # the next page opens it, see views.home
    _tell_who_is_where()
    # Read after the join, so that nothing is missed in between; what comes both ways has the same key.
    messages = Message.objects.filter(room=room).select_related("author").order_by("-id")
    latest = list(messages[: HISTORY_LENGTH + 1])
    return {
        "name": connection.data["name"],
        "history": [message.as_payload() for message in reversed(latest[:HISTORY_LENGTH])],
        # By this a page that was away sees whether it has missed more than that.
        "follows": latest[HISTORY_LENGTH].key if len(latest) > HISTORY_LENGTH else None,
    }


@etp_event("say")
def say(connection: Connection, event: Event) -> dict[str, Any]:
    """Keep a message and send it to the room; the answer is the tick that its author sees."""
    form = MessageForm(_fields(event))
    if not form.is_valid():
        return {"error": first_error(form)}
    fields = form.cleaned_data
    message, _ = Message.objects.get_or_create(
        author_id=connection.user.pk, key=fields["key"], defaults={"room": fields["room"], "text": fields["text"]}
    )
    # Also where the browser sends it again: the first time the layer may not have taken it. Pages know it by its key.
    rooms.emit(message.room, "message", message.as_payload(), exclude=[connection.id])
    return {"message": message.as_payload()}


@etp_event("typing")
async def typing(connection: Connection, event: Event) -> None:
    """Show the others in the room that somebody writes. A coroutine function: it needs no database, only the loop."""
    if room := connection.data["room"]:
        await rooms.aemit(room, "typing", {"room": room, "name": connection.data["name"]}, exclude=[connection.id])


@on_disconnect
def gone(connection: Connection, disconnect: Disconnect) -> None:
    """Runs once for each connection that was let in, however it ended; it is in no room any more."""
    _tell_who_is_where()


_one_move_at_a_time = threading.Lock()


def _tell_who_is_where() -> None:
    """Send everyone the names in each room. A user with several windows has several connections, and is named once.

    Another thread, or another process, may do the same just now. A list that was looked up later holds all that an
    earlier one does, so each says when it was, and browsers pass over one that comes after a later one.
    """
    looked_up_at = time.time()
    try:
        everyone = rooms.connections()
    except IncompleteAnswer as error:  # a process is just going, or busy: those of the others, then
        everyone = error.answer
    names = dict(User.objects.filter(pk__in={other.user_id for other in everyone}).values_list("pk", "username"))
    names_in = {room: {names[other.user_id] for other in everyone if room in other.rooms} for room in Room.values}
    rooms.broadcast(
        "presence",
        {"looked_up_at": looked_up_at, "rooms": {room: sorted(names) for room, names in names_in.items()}},
    )


def _fields(event: Event) -> dict[str, Any]:
    fields = event.json()
    return fields if isinstance(fields, dict) else {}
