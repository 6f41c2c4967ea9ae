"""Send announcements, from a view, a Celery worker or a management command."""

from django.contrib.auth.models import User
from django.db import transaction

from django_etp import rooms

from .etp_events import chat_room
from .models import Message, Room


def announce(room: Room | str, author: User, text: str) -> None:
    """Save an announcement; with the commit, send it to all members of the room, in all processes."""
    with transaction.atomic():
        message = Message.objects.create(room=room, author=author, text=text, is_announcement=True)
        rooms.emit_on_commit(chat_room(room=room), "message", message.as_payload())
