"""A custom session engine whose rows have an extra column, like that of django-user-sessions.

It reads and writes Django's table of sessions; the project calls the column ``owner``.
"""

from typing import Any

from django.contrib.sessions.backends.base import SessionBase
from django.db import models
from django.test.utils import isolate_apps
from django.utils import timezone

with isolate_apps("tests"):

    class Session(models.Model):
        session_key = models.CharField(max_length=40, primary_key=True)
        session_data = models.TextField()
        expire_date = models.DateTimeField()
        owner = models.TextField()

        class Meta:
            app_label = "tests"

        def __str__(self) -> str:
            return self.session_key


class SessionStore(SessionBase):
    """Store the owner that it was created with, as middleware creates it for a request."""

    def __init__(self, session_key: str | None = None, owner: str = "") -> None:
        super().__init__(session_key)
        self.owner = owner

    def __setitem__(self, key: str, value: Any) -> None:
        if key == "owner":
            self.owner = value
        super().__setitem__(key, value)

    def exists(self, session_key: str) -> bool:
        return Session.objects.filter(session_key=session_key).exists()

    def create(self) -> None:
        self._session_key = self._get_new_session_key()
        self.save(must_create=True)

    def save(self, must_create: bool = False) -> None:
        Session(
            session_key=self.session_key,
            session_data=self.encode(self._get_session(no_load=must_create)),
            expire_date=self.get_expiry_date(),
            owner=self.owner,
        ).save(force_insert=must_create)

    def load(self) -> dict[str, Any]:
        row = Session.objects.filter(session_key=self.session_key, expire_date__gt=timezone.now()).first()
        if row is None:
            self.create()
            return {}
        return self.decode(row.session_data)

    def delete(self, session_key: str | None = None) -> None:
        Session.objects.filter(session_key=session_key or self.session_key).delete()
