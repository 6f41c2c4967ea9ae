"""The chat's declared rooms. django_etp finds this module by its name in every installed app.

A handler is a coroutine function, which runs on the event loop, or a plain function, which runs in a thread and may use
the ORM. Its return value answers the browser's `join` or `emitWithAck`: a string as it is, anything else as JSON.
"""

from typing import Any

from django.contrib.auth.models import User
from django.db.models.signals import post_save
from django.dispatch import receiver

from django_etp import Connection, Event, History, RejectConnection, etp_room, on_connect, rooms

from . import converters as converters  # registers <room:…>
from .forms import MessageForm, first_error
from .messages import new_message
from .rooms import Room

MONTH = 30 * 24 * 60 * 60  # seconds


@on_connect
async def welcome(connection: Connection) -> None:
    """Accept logged-in users only; `connection.user` is the user of the Django session."""
    if not connection.user.is_authenticated:
        # Before the accept, this would be HTTP 403. A script cannot see that status, so etp.js would try again. After
        # the accept, the socket closes with 4403 and etp.js does not reconnect.
        await connection.aaccept()
        raise RejectConnection("Log in first")


async def shown_to_others(connection: Connection, room: Room) -> dict[str, Any]:
    """Return what the members of a room see of each other. A user with several windows is one member."""
    return {"name": connection.user.get_username()}


@etp_room(
    "rooms/<room:room>",
    login_required=True,
    presence=shown_to_others,
    history=History(size=1_000, seconds=MONTH),
)
async def chat_room(connection: Connection, room: Room) -> dict[str, Any]:
    """Tell a newcomer its name. The page reads the past from the room's history, and so misses none of it."""
    connection.session["room"] = room.value  # the next page opens it, see views.home
    return {"name": connection.user.get_username()}


@chat_room.event("say")
async def say(connection: Connection, event: Event, room: Room) -> dict[str, Any]:
    """Send a message to the room and into its history; the answer becomes the tick that the author sees.

    The author gets the message as the others do. So all pages show the same order, and the same after a return.
    """
    fields = event.json()
    form = MessageForm(fields if isinstance(fields, dict) else {})
    if not form.is_valid():
        return {"error": first_error(form)}
    message = new_message(room, connection.user, **form.cleaned_data)
    await rooms.aemit(chat_room(room=room), "message", message)
    return {"message": message}


# What is not worth keeping has a room without a history.
@etp_room("typing/<room:room>", login_required=True)
async def typing_room(connection: Connection, room: Room) -> None:
    """Let a page show who is typing."""


@typing_room.event("typing")
async def typing(connection: Connection, event: Event, room: Room) -> None:
    """Show the others in the room who is typing."""
    name = connection.user.get_username()
    await rooms.aemit(typing_room(room=room), "typing", {"name": name}, exclude=[connection.id])


@chat_room.allow
@typing_room.allow
def may_enter(user: User, room: Room) -> bool:
    """Keep the office for the staff. django_etp asks at each join, and again when the user has changed."""
    return room.admits(user)


@receiver(post_save, sender=User)
def tell_pages(instance: User, created: bool, update_fields: frozenset[str] | None, **kwargs: Any) -> None:
    """Tell the pages of a user whose rights may have changed: they try a room again that was closed to them."""
    if not created and (update_fields is None or "is_staff" in update_fields):
        rooms.emit_on_commit(rooms.user(instance), "rights", {"is_staff": instance.is_staff})
