"""The users who are online, and the signals when one comes or has gone: each once over all processes.

All processes share the entries of a room that is named by no room of an application.

Rules kept here:

- A user is online from the first accepted connection, of any namespace, to the end of the grace after the last one.
- If several processes get a user's first connections at once, the one whose entry is the oldest sends ``user_online``.
- The process that was the last to remove its entry sends ``user_offline``. The traces of removed entries show which one
  that is.
- If the process of the last entry has ended, the living process with the lowest id sends it.
- A process decides a moment after its own change, when the changes of the others have arrived. A user who has returned
  by then was offline all the same: both signals are sent.
"""

from functools import partial
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.dispatch import Signal

from django_etp.concurrency.workers import run_hook
from django_etp.conf import get_settings
from django_etp.hub.hub import Hub
from django_etp.signals import user_offline, user_online

from .entries import Shown
from .room import PresenceRoom

__all__ = ["Online"]

# How soon a connection that has come or gone is looked at, and how long the changes of others may take, in seconds.
_SOON = 0.05
_SETTLE = 1.0


class Online:
    """The users with connections of one hub, in a room that all processes share.

    Args:
        hub: the hub.
        room: the room.
    """

    def __init__(self, hub: Hub, room: PresenceRoom) -> None:
        self._hub = hub
        self._room = room
        self._table = room.table
        self._ids: dict[str, set[str]] = {}  # the accepted connections here, by users
        self._to_look_at: dict[str, None] = {}
        self._is_looking = False
        # The users who came through this process, and when, while it is not decided yet which one sends the signal.
        self._fresh: dict[str, float] = {}
        room.audience = self
        hub.membership.user_changed = self._user_changed
        for member in hub.membership.all():
            if (user := hub.membership.user_of(member)) is not None:
                self._user_changed(user)

    def stop(self) -> None:
        """Send no more signals."""
        self._hub.membership.user_changed = None

    # The connections of this process

    def _user_changed(self, user: str) -> None:
        self._to_look_at[user] = None
        if not self._is_looking:
            self._is_looking = True
            self._hub.loop.call_later(_SOON, self._look)

    def _look(self) -> None:
        self._is_looking = False
        users, self._to_look_at = self._to_look_at, {}
        for user in users:
            members = self._hub.membership.of_user(user)
            accepted = {member.id for member in members if member.is_accepted}
            if len(accepted) < len(members) or not self._room.opening.done():
                self._user_changed(user)
            if self._room.opening.done():
                self._set(user, accepted)

    def _set(self, user: str, accepted: set[str]) -> None:
        known = self._ids.get(user, set())
        for id in accepted - known:
            is_first = user not in self._table.shown
            self._room.enter(id, user, "{}")
            if is_first:
                self._fresh[user] = self._table.own.entries[user].since
                self._hub.loop.call_later(_SETTLE, self._decide_online, user)
        for id in known - accepted:
            self._room.leave(id, get_settings().presence_grace)
        if accepted:
            self._ids[user] = accepted
        else:
            self._ids.pop(user, None)

    # Decisions

    def record(self, key: str, before: Shown | None) -> None:
        """See Audience."""
        if key in self._table.shown:
            return
        own = self._table.own.entries.get(key)
        if not any(key in share.entries for share in self._table.shares.values()):
            if self._hub.id <= min(self._hub.link.others, default=self._hub.id):
                self._send(user_offline, key)
        elif own is not None and key not in self._fresh:
            self._hub.loop.call_later(_SETTLE, self._decide_offline, key, own.informed_at)

    def discard(self, member: str) -> None:
        """See Audience."""

    def announce(self, now: float) -> None:
        """See Audience."""

    def _decide_online(self, user: str) -> None:
        came_at = self._fresh.pop(user, None)
        # A process that got a connection later shows the time of the first one, too.
        shown = self._table.shown.get(user)
        if came_at is not None and shown is not None and came_at <= shown.since:
            self._send(user_online, user)

    def _decide_offline(self, user: str, gone_at: float) -> None:
        shown = self._table.shown.get(user)
        if shown is not None and shown.since < gone_at:
            return  # another process had a connection of the user all the time
        # A user who has returned is newer than the trace that the entry was.
        ends = [
            (entry.informed_at, hub)
            for hub, share in self._table.shares.items()
            if (entry := share.entries.get(user)) is not None and (entry.is_trace or entry.since > entry.informed_at)
        ]
        if max([*ends, (gone_at, self._hub.id)])[1] == self._hub.id:
            self._send(user_offline, user)

    def _send(self, signal: Signal, user: str) -> None:
        if not self._room.is_closed:  # else this process ends, and has handed its users over
            send = partial(signal.send_robust, sender=get_user_model(), user_id=_key_of(user))
            self._hub.run(run_hook(send))


def _key_of(user: str) -> Any:
    try:
        return get_user_model()._meta.pk.to_python(user)
    except ValidationError:
        return user
