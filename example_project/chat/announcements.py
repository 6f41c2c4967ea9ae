"""Announcements, which can come from anywhere: a view, a Celery worker, a management command."""

from django.contrib.auth.models import User

from django_etp import rooms

from .models import Message, Room


def announce(room: Room | str, author: User, text: str) -> None:
    """Keep an announcement and tell everyone in the room, in whichever process they are."""
    message = Message.objects.create(room=room, author=author, text=text, is_announcement=True)
    rooms.emit(room, "message", message.as_payload())
