"""Check again who may be in declared rooms, and take out those who may not.

Rules kept here:

- A user is loaded once, and asked once for each room, however many connections the user has in it.
- Guests whose join is still under way are checked, too.
- A database that cannot be reached, or a function that takes too long, is no verdict: the next check at intervals will
  find out. Any other error of a function takes the connection out.
"""

import asyncio
import logging
from collections.abc import Iterable

from django.db import InterfaceError, OperationalError

from django_etp.cancellation import must_pass
from django_etp.conf import get_settings
from django_etp.exceptions import EventFailed
from django_etp.hub.guests import Guest
from django_etp.hub.hub import Hub

from .access import check_access, refusal_of, user_of
from .errors import failure_of
from .guests import RoomGuest

__all__ = ["recheck", "recheck_forever"]

logger = logging.getLogger(__name__)

# How many users are checked at once.
_AT_ONCE = 16
_NO_VERDICT = (OperationalError, InterfaceError, TimeoutError)


async def recheck(guests: Iterable[Guest]) -> None:
    """Check guests again, and take out those who may not be in their rooms any more."""
    by_person: dict[str, list[RoomGuest]] = {}
    for guest in guests:
        if isinstance(guest, RoomGuest) and guest.room.has_rules:
            by_person.setdefault(guest.person, []).append(guest)
    waiting = list(by_person.values())

    async def work() -> None:
        while waiting:
            of_person = waiting.pop()
            await of_person[0].run(_recheck_person(of_person))

    await asyncio.gather(*(work() for _ in range(min(_AT_ONCE, len(waiting)))))


async def recheck_forever(hub: Hub) -> None:
    """Check all guests at the interval of the setting ``SESSION_CHECK_INTERVAL``."""
    while True:
        await asyncio.sleep(get_settings().session_check_interval)
        await recheck(hub.membership.guests.all())


async def _recheck_person(guests: list[RoomGuest]) -> None:
    """Check the guests of one user, or of one connection without a user of Django's."""
    try:
        user = await user_of(guests[0].peer, anew=True)
    except Exception:
        logger.exception("A user could not be loaded to be checked; the next check will try again.")
        return
    verdicts: dict[tuple[str, str], EventFailed | None] = {}
    for guest in guests:
        if guest.key not in verdicts:
            verdicts[guest.key] = await _verdict(guest, user)
        if (refusal := verdicts[guest.key]) is not None:
            # The user that the connections hold passed the check once, and must not do so again.
            guest.peer.hub.membership.changed_users.add(guest.person, guest.peer.hub.loop.time())
            await guest.put_out(refusal)


async def _verdict(guest: RoomGuest, user: object) -> EventFailed | None:
    """Return why a user may not be in a room any more; ``None`` if nothing speaks against it."""
    try:
        await check_access(guest.room, guest.parameters, user, owner=guest.person)
    except _NO_VERDICT:
        logger.exception(
            "Who may be in the room %.80r could not be checked; the next check will try again.", guest.name
        )
    except BaseException as error:
        if must_pass(error):
            raise
        refusal = refusal_of(error, guest.name)
        if not isinstance(refusal, EventFailed):
            logger.exception("The check of who may be in the room %.80r failed; the user is taken out.", guest.name)
        return failure_of(refusal)
    return None
