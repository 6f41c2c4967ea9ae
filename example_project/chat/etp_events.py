"""The chat's declared rooms. django_etp finds this module by its name in every installed app.

A handler is a coroutine function, which runs on the event loop, or a plain function, which runs in a thread and may use
the ORM. Its return value answers the browser's `join` or `emitWithAck`: a string as it is, anything else as JSON.
"""

from typing import Any

from django.contrib.auth.models import User
from django.db.models.signals import post_save
from django.dispatch import receiver

from django_etp import Connection, Event, RejectConnection, etp_room, on_connect, rooms

from . import converters as converters  # registers <room:…>
from .forms import MessageForm, first_error
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


async def shown_to_others(connection: Connection, room: Room) -> dict[str, Any]:
    """Return what the members of a room see of each other. A user with several windows is one member."""
    return {"name": connection.user.get_username()}


@etp_room("rooms/<room:room>", login_required=True, presence=shown_to_others)
def chat_room(connection: Connection, room: Room) -> dict[str, Any]:
    """Give a newcomer the room's latest messages. This is a plain function because it reads them from the database.

    The newcomer is a member already: no message is missed, and one that arrives both ways has the same key.
    """
    connection.session["room"] = room.value  # the next page opens it, see views.home
    messages = Message.objects.filter(room=room).select_related("author").order_by("-id")
    latest = list(messages[: HISTORY_LENGTH + 1])
    return {
        "name": connection.user.get_username(),
        "history": [message.as_payload() for message in reversed(latest[:HISTORY_LENGTH])],
        # Lets a page that was offline detect that it has missed more messages than these.
        "follows": latest[HISTORY_LENGTH].key if len(latest) > HISTORY_LENGTH else None,
    }


@chat_room.allow
def may_enter(user: User, room: Room) -> bool:
    """Keep the office for the staff. django_etp asks at each join, and again when the user has changed."""
    return room.admits(user)


@chat_room.event("say")
def say(connection: Connection, event: Event, room: Room) -> dict[str, Any]:
    """Save a message and send it to the room; the answer becomes the tick that the author sees."""
    fields = event.json()
    form = MessageForm(fields if isinstance(fields, dict) else {})
    if not form.is_valid():
        return {"error": first_error(form)}
    message, _ = Message.objects.get_or_create(
        author_id=connection.user.pk,
        key=form.cleaned_data["key"],
        defaults={"room": room, "text": form.cleaned_data["text"]},
    )
    # Even if the browser has sent it before, because the first emit may have failed. Pages recognise it by its key.
    rooms.emit(chat_room(room=message.room), "message", message.as_payload(), exclude=[connection.id])
    return {"message": message.as_payload()}


@chat_room.event("typing")
async def typing(connection: Connection, event: Event, room: Room) -> None:
    """Show the others in the room who is typing. This is a coroutine function because it needs no database."""
    name = connection.user.get_username()
    await rooms.aemit(chat_room(room=room), "typing", {"name": name}, exclude=[connection.id])


@receiver(post_save, sender=User)
def tell_pages(instance: User, created: bool, update_fields: frozenset[str] | None, **kwargs: Any) -> None:
    """Tell the pages of a user whose rights may have changed: they try a room again that was closed to them."""
    if not created and (update_fields is None or "is_staff" in update_fields):
        rooms.emit_on_commit(rooms.user(instance), "rights", {"is_staff": instance.is_staff})
