"""`manage.py announce lobby "Lunch is ready"` sends an announcement to a room while the servers run."""

from argparse import ArgumentParser
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError

from example_project.chat.announcements import announce
from example_project.chat.forms import TextForm, first_error
from example_project.chat.rooms import Room


class Command(BaseCommand):
    help = "Send an announcement to all members of a room."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("room", choices=Room.values)
        parser.add_argument("text")

    def handle(self, *, room: str, text: str, **options: Any) -> None:
        form = TextForm({"text": text})
        if not form.is_valid():
            raise CommandError(first_error(form))
        # Inactive, so that no visitor can use this name.
        author, _ = User.objects.get_or_create(username="Housekeeping", defaults={"is_active": False})
        announce(room, author, form.cleaned_data["text"])
