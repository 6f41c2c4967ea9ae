"""The chat's messages, which are events in the history of their room and are stored nowhere else."""

import uuid
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.utils import timezone

from .rooms import Room

MAX_LENGTH = 500
MAX_KEY_LENGTH = 32


def new_message(
    room: Room | str, author: AbstractBaseUser, text: str, *, key: str = "", is_announcement: bool = False
) -> dict[str, Any]:
    """Return the data of a message, as browsers receive it.

    The sender chooses the key: a message that is sent again after a lost connection has the same one, and pages show it
    once.
    """
    return {
        "key": key or uuid.uuid4().hex,
        "room": room,
        "name": author.get_username(),
        "text": text,
        "is_announcement": is_announcement,
        "sent_at": timezone.now().isoformat(timespec="microseconds"),
    }
