"""The past events of a room with history, for a member that scrolls back.

Rules kept here:

- The answer fits into one message of ``MAX_MESSAGE_SIZE``, unless a single event does not. The oldest events are left
  out: the client asks for those before the first that it got.
- An empty list is the end.
"""

from typing import Any

from django_etp.conf import get_settings
from django_etp.exceptions import EventFailed
from django_etp.protocol.frames import Event, size_of
from django_etp.rooms.histories import read_past
from django_etp.serialization import to_text

from .guests import RoomGuest

__all__ = ["answer_with_past"]

_LIMIT = 50
_MOST = 1_000
# The bytes of the name of the answer and of the frame of the list.
_RESERVE = 200


async def answer_with_past(guest: RoomGuest, event: Event) -> str:
    """Return the answer to a member that asks for past events.

    Raises:
        EventFailed: the room has no history, or the event is not valid.
        HistoryUnavailable: the history cannot be reached.
    """
    most, before = _arguments(event.json())
    if guest.room.history is None:
        raise EventFailed("not_found", "This room has no history.")
    past = await read_past(guest.peer.hub, *guest.key, most, before)
    texts: list[str] = []
    left = get_settings().max_message_size - _RESERVE
    for each in reversed(past):
        text = to_text(each.to_plain())
        left -= size_of(text) + 1
        if left < 0 and texts:
            break
        texts.append(text)
    return f'{{"events":[{",".join(reversed(texts))}]}}'


def _arguments(content: Any) -> tuple[int, str | None]:
    most, before = content.get("limit", _LIMIT), content.get("before")
    is_number = isinstance(most, int) and not isinstance(most, bool) and most > 0
    if not is_number or not (before is None or isinstance(before, str)):
        raise EventFailed("invalid_payload", '"limit" must be a number of events above 0, and "before" a position.')
    return min(most, _MOST), before
