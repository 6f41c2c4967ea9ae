"""`manage.py seed` creates the user Host, who is on the staff. `make demo` runs it."""

from typing import Any

from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    help = "Create Host, a member of the staff who comes in without a password, like everyone else in this chat."

    def handle(self, **options: Any) -> None:
        # Django's admin shows nothing to staff without permissions.
        User.objects.get_or_create(username="Host", defaults={"is_staff": True, "password": make_password(None)})
