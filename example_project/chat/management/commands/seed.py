"""`manage.py seed` creates the user Host, who is on the staff and may use the live page. `make demo` runs it."""

from typing import Any

from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import Permission, User
from django.core.management.base import BaseCommand, CommandError

NAME, PASSWORD = "Host", "parlour"


class Command(BaseCommand):
    help = f"Create {NAME}, a member of the staff, with the password {PASSWORD!r}. It is for your own machine only."

    def handle(self, **options: Any) -> None:
        if not settings.DEBUG:
            raise CommandError("Everybody knows this password, so `seed` runs with DEBUG = True only.")
        host, _ = User.objects.get_or_create(username=NAME)
        if not (host.is_staff and host.check_password(PASSWORD)):
            # A new password ends the logins of a guest who had the name before. `update()` sends no signal, nor does
            # `bulk_create()`: there are no pages to notify while no server runs.
            User.objects.filter(pk=host.pk).update(is_staff=True, password=make_password(PASSWORD))
        # The rest of Django's admin shows nothing to Host.
        link = User.user_permissions.through
        permissions = Permission.objects.filter(content_type__app_label="django_etp")
        link.objects.bulk_create([link(user=host, permission=each) for each in permissions], ignore_conflicts=True)
        self.stdout.write(
            f"To be on the staff, come in as {NAME} with the password {PASSWORD!r}. The live page is at /admin/."
        )
