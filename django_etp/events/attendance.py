"""A join of a room with presence: the information for other members, and the entries of the room.

Rules kept here:

- The function of ``presence=`` runs after the join handler, at each join. It fails the join as the handler would.
- The connection is present from the answer on, which holds its own entry, too.
"""

from typing import Any

from django_etp.concurrency.workers import run_hook
from django_etp.connections.connection import Connection
from django_etp.connections.scope import identity_of
from django_etp.exceptions import InvalidPayload
from django_etp.presence.tracker import tracker_of
from django_etp.protocol.frames import size_of
from django_etp.serialization import to_text

from .access import call_limited
from .guests import RoomGuest
from .handlers import Handler

__all__ = ["MOST_INFO", "attend"]

# The limit of the information about a member, in bytes of JSON: it goes to all members, and between processes.
MOST_INFO = 4096


async def attend(guest: RoomGuest, connection: Connection) -> str:
    """Make a guest present in its room; return its part of the answer to the join, the inside of a JSON object."""
    info = "{}"
    if (describe := guest.room.describe) is not None:
        info = _info_of(describe, await call_limited(describe.with_parameters(guest.parameters), run_hook, connection))
        guest.refuse_ended()
    peer = guest.peer
    tracker = tracker_of(peer.hub)
    room = await tracker.open(*guest.key)
    try:
        guest.refuse_ended()
    except BaseException:
        room.announce_soon()  # it is closed if it is empty
        raise
    key = peer.id if peer.user_id is None else str(identity_of(peer.scope, peer.user_id))
    return tracker.enter(room, peer.id, key, info)


def _info_of(describe: Handler, value: Any) -> str:
    if not isinstance(value, dict):
        raise TypeError(f"{describe.place} must return a dict, got {type(value).__name__}: {value!r:.80}.")
    text = to_text(value)
    try:
        size = size_of(text)
        text.encode()
    except UnicodeEncodeError:
        raise InvalidPayload(f"{describe.place} returned a text with a lone surrogate.", is_outgoing=True) from None
    if size > MOST_INFO:
        raise InvalidPayload(
            f"{describe.place} must return at most {MOST_INFO:,} bytes of JSON, got {size:,}.", is_outgoing=True
        )
    return text
