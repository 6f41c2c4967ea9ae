"""Celery tasks of the chat. A worker is a separate process without connections to browsers."""

from django.contrib.auth.models import User

from example_project.celery import app

from .announcements import announce


@app.task
def announce_later(room: str, author_id: int, text: str) -> None:
    announce(room, User.objects.get(pk=author_id), text)
