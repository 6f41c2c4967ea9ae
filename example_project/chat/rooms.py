"""The chat's rooms, and who may enter them."""

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser
from django.db.models import TextChoices


class Room(TextChoices):
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
