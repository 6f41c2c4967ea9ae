"""The chat's event handlers. django_etp finds this module by its name in every installed app.

A handler is a coroutine function, which runs on the event loop, or a plain function, which runs in a thread and may use
the ORM. Its return value answers the browser's `emitWithAck`: a string as it is, anything else as JSON.
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
    """Accept logged-in users only; `connection.user` is the user of the Django session."""
    if not connection.user.is_authenticated:
        # Before the accept, this would be HTTP 403. A script cannot see that status, so etp.js would try again. After
        # the accept, the socket closes with 4403 and etp.js does not reconnect.
        await connection.aaccept()
        raise RejectConnection("Log in first")
    # `data` takes JSON values. It is deleted with the connection; the session's own keys live as long as the login.
    connection.data["name"] = connection.user.get_username()
    connection.data["room"] = None


@etp_event("enter")
def enter(connection: Connection, event: Event) -> dict[str, Any]:
    """Move to a room. This is a plain function because it reads the room's history from the database."""
    form = RoomForm(_fields(event))
    if not form.is_valid():
        return {"error": first_error(form)}
    room = form.cleaned_data["room"]
    with _one_move_at_a_time:
        connection.leave(*(connection.rooms - {room}))
        connection.join(room)
        connection.data["room"] = room
        connection.session["room"] = room  # the next page opens it, see views.home
    _send_presence()
    # Read after the join, so that no message is missed. A message that arrives both ways has the same key.
    messages = Message.objects.filter(room=room).select_related("author").order_by("-id")
    latest = list(messages[: HISTORY_LENGTH + 1])
    return {
        "name": connection.data["name"],
        "history": [message.as_payload() for message in reversed(latest[:HISTORY_LENGTH])],
        # Lets a page that was offline detect that it has missed more messages than these.
        "follows": latest[HISTORY_LENGTH].key if len(latest) > HISTORY_LENGTH else None,
    }


@etp_event("say")
def say(connection: Connection, event: Event) -> dict[str, Any]:
    """Save a message and send it to the room; the answer becomes the tick that the author sees."""
    form = MessageForm(_fields(event))
    if not form.is_valid():
        return {"error": first_error(form)}
    fields = form.cleaned_data
    message, _ = Message.objects.get_or_create(
        author_id=connection.user.pk, key=fields["key"], defaults={"room": fields["room"], "text": fields["text"]}
    )
    # Even if the browser has sent it before, because the first emit may have failed. Pages recognise it by its key.
    rooms.emit(message.room, "message", message.as_payload(), exclude=[connection.id])
    return {"message": message.as_payload()}


@etp_event("typing")
async def typing(connection: Connection, event: Event) -> None:
    """Show the others in the room who is typing. This is a coroutine function because it needs no database."""
    if room := connection.data["room"]:
        await rooms.aemit(room, "typing", {"room": room, "name": connection.data["name"]}, exclude=[connection.id])


@on_disconnect
def gone(connection: Connection, disconnect: Disconnect) -> None:
    """Runs once for each connection that `welcome` let in, however it ended. It has left its rooms by then."""
    _send_presence()


_one_move_at_a_time = threading.Lock()


def _send_presence() -> None:
    """Send the names in each room to all connections. A user with several windows has several connections and one name.

    Another thread or process may do the same at this moment. A list includes everything that happened before it was
    looked up, so each carries that time, and browsers ignore a list that arrives after a later one.
    """
    looked_up_at = time.time()
    try:
        everyone = rooms.connections()
    except IncompleteAnswer as error:  # a process is ending or busy: use the answers of the others
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
