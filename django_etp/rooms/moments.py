"""The positions of rooms with history as they were at a moment, for pages that are rendered after that.

Rules kept here:

- A moment is by the clock of the store. Every event that is appended after note_moment() is after the moment.
- A position is never later than that of the moment. If the history may lack events after the moment, it is one from
  which a client does not recover.
- A page is rendered without a position if the history cannot be reached. A request waits for that a moment only, and
  those of the next seconds do not.
"""

import asyncio
import logging
import math
import time

from django.core.signals import setting_changed
from django.dispatch import receiver

from django_etp.exceptions import HistoryUnavailable, LayerUnavailable
from django_etp.history.store import SLACK, Position
from django_etp.hub import histories
from django_etp.hub.hub import Hub
from django_etp.hub.names import group_name

from .calls import Calls
from .histories import limits_of

__all__ = ["anote_moment", "note_moment", "position_at"]

logger = logging.getLogger(__name__)

# How long a request waits for the time of the store, in seconds: health checks have one second.
_LIMIT = 0.25
# For how long the store is not asked again after it has failed, in seconds.
_PAUSE = 5.0


class _Failing:
    """The store has failed; until this time, by the monotonic clock, it is not asked again."""

    until = -math.inf


async def anote_moment() -> float | None:
    """Return the time by the clock of the store; ``None`` without rooms with history, or if it cannot be reached."""
    if histories.limits_of is None or time.monotonic() < _Failing.until:
        return None
    try:
        return await Calls("default").arun(_now)
    except LayerUnavailable as error:
        _fail(error)
        return None


def note_moment() -> float | None:
    """See anote_moment()."""
    if histories.limits_of is None or time.monotonic() < _Failing.until:
        return None
    try:
        return Calls("default").run("PositionMiddleware", _now)
    except LayerUnavailable as error:
        _fail(error)
        return None


@receiver(setting_changed)
def _forget_failure(*, setting: str, **_: object) -> None:
    if setting == "ETP":  # it may name another store
        _Failing.until = -math.inf


def _fail(error: LayerUnavailable) -> None:
    _Failing.until = time.monotonic() + _PAUSE
    _log(error)


def position_at(namespace: str, room: str, moment: float) -> str | None:
    """Return the position of a room at a moment; ``None`` if the history cannot be reached.

    Raises:
        InvalidRoomName: the room has no history.
    """
    try:
        return Calls(namespace).run("etp_room", _position_at, room, moment)
    except LayerUnavailable as error:
        _log(error)
        return None


def _log(error: LayerUnavailable) -> None:
    logger.warning("A page has no positions of its rooms, so clients begin with the state: %s", error)


async def _now(hub: Hub, namespace: str) -> float:
    store = hub.histories.store  # the first call imports its library
    try:
        async with asyncio.timeout(_LIMIT):
            return await store.now()
    except TimeoutError as error:
        raise HistoryUnavailable(f"The history did not give its time within {_LIMIT:g} s.") from error


async def _position_at(hub: Hub, namespace: str, room: str, moment: float) -> str:
    limits = limits_of(hub, namespace, room)
    store, group = hub.histories.store, group_name(namespace, room)
    last = await store.position(group)
    most, entries = 1, await store.read_before(group, None, 1, limits)
    while len(entries) == most < limits.size + SLACK and entries[0].at >= moment:
        most *= 10
        entries = await store.read_before(group, None, most, limits)
    if earlier := [entry for entry in entries if entry.at < moment]:
        return str(earlier[-1].position)
    if not entries:
        return str(last)
    first = entries[0].position
    # A room that is full may have removed events after the moment.
    missing = 2 if len(entries) >= limits.size else 1
    return str(Position(first.epoch, max(0, first.number - missing)))
