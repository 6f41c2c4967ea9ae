"""The chat's rooms and messages."""

import uuid
from typing import Any

from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser
from django.db import models


class Room(models.TextChoices):
    LOBBY = "lobby", "Lobby"
    WORKSHOP = "workshop", "Workshop"
    KITCHEN = "kitchen", "Kitchen"
    OBSERVATORY = "observatory", "Observatory"
    OFFICE = "office", "Office"

    @property
    def topic(self) -> str:
        return _TOPICS[self]

    @property
    def is_for_staff(self) -> bool:
        return self is Room.OFFICE

    def admits(self, user: AbstractBaseUser | AnonymousUser) -> bool:
        """Return whether a user may enter. Pages and declared rooms ask alike."""
        return user.is_authenticated and (not self.is_for_staff or getattr(user, "is_staff", False))


_TOPICS = {
    Room.LOBBY: "Come in, say hello, see who is around",
    Room.WORKSHOP: "What are you building?",
    Room.KITCHEN: "Recipes, leftovers and second breakfasts",
    Room.OBSERVATORY: "For those who are still up",
    Room.OFFICE: "For the staff only",
}


def new_key() -> str:
    return uuid.uuid4().hex


class Message(models.Model):
    MAX_LENGTH = 500
    MAX_KEY_LENGTH = 32

    room = models.CharField(max_length=20, choices=Room)
    author = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    text = models.CharField(max_length=MAX_LENGTH)
    is_announcement = models.BooleanField(default=False)
    sent_at = models.DateTimeField(auto_now_add=True)
    # Chosen by the sender: a message that is sent again after a lost connection has the same key.
    key = models.CharField(max_length=MAX_KEY_LENGTH, default=new_key)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["author", "key"], name="one_message_per_key")]
        indexes = [models.Index(fields=["room", "-id"])]

    def __str__(self) -> str:
        return f"{self.author} in {self.room}: {self.text}"

    def as_payload(self) -> dict[str, Any]:
        """Return the data that browsers receive."""
        return {
            "key": self.key,
            "room": self.room,
            "name": self.author.get_username(),
            "text": self.text,
            "is_announcement": self.is_announcement,
            "sent_at": self.sent_at.isoformat(),
        }
