"""Send announcements, from a view, a Celery worker or a management command."""

from django.contrib.auth.models import User

from django_etp import rooms

from .etp_events import chat_room
from .messages import new_message
from .rooms import Room


def announce(room: Room | str, author: User, text: str) -> None:
    """Send an announcement to all members of the room, in all processes, and into its history."""
    rooms.emit(chat_room(room=room), "message", new_message(room, author, text, is_announcement=True))
