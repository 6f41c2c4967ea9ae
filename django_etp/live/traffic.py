"""Count the traffic of a process by the second, while a live page is open.

Rules kept here:

- Nothing is counted before a page asks, nor 10 s after the last time: there are no receivers, meters and timers.
- Events count when their handlers have ended, and frames when the server takes them for a client.
- The counts of the last minute are kept, those of the current second left out.
"""

from collections import deque
from typing import Any

from django_etp.connections.connection import Connection
from django_etp.connections.meters import Meter
from django_etp.connections.peer import Peer
from django_etp.hub.hub import Hub
from django_etp.hub.members import hub_of
from django_etp.signals import connected, event_handled

__all__ = ["SECONDS", "Traffic", "traffic_of"]

# How many seconds are kept.
SECONDS = 60
# In seconds.
_LOOKS_LAST = 10.0


class Traffic:
    """The traffic of one hub, from the first look on.

    Attributes:
        is_counting: whether a page has asked lately.
        seconds: the events and frames of each of the last seconds, the latest one last.
        meters: the meters of the connections, by the connections' ids.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self.is_counting = False
        self.seconds: deque[tuple[int, int]] = deque(maxlen=SECONDS)
        self.meters: dict[str, Meter] = {}
        self._events = 0  # so far
        self._ended_frames = 0  # of connections that have ended
        self._counted = (0, 0)  # the events and frames in all the seconds that have passed
        self._due = self._looked_at = 0.0

    def look(self) -> None:
        """Count for some seconds more."""
        self._looked_at = self._hub.loop.time()
        if self.is_counting:
            return
        self.is_counting = True
        for member in self._hub.membership.all():
            self._measure(member)
        event_handled.connect(self._count_event)
        connected.connect(self._count_connection)
        self._wait_until(self._looked_at + 1)

    def stop(self) -> None:
        """Count no more, and forget what was counted."""
        event_handled.disconnect(self._count_event)
        connected.disconnect(self._count_connection)
        for meter in self.meters.values():
            meter.remove()
        self.is_counting = False
        _traffics.pop(self._hub, None)

    def _wait_until(self, due: float) -> None:
        self._due = due
        self._hub.loop.call_at(due, self._end_second, context=self._hub.context.copy())

    def _end_second(self) -> None:
        if not self.is_counting:
            return
        if self._due - self._looked_at > _LOOKS_LAST:
            self.stop()
            return
        for id, meter in tuple(self.meters.items()):
            if meter.peer.disconnect is not None:
                self._ended_frames += self.meters.pop(id).frames
        events, frames = self._counted
        so_far = self._ended_frames + sum(meter.frames for meter in self.meters.values())
        self._counted = self._events, so_far
        self.seconds.append((self._events - events, so_far - frames))
        self._wait_until(self._due + 1)

    def _measure(self, member: Any) -> None:
        if isinstance(member, Peer) and member.is_accepted and member.id not in self.meters:
            self.meters[member.id] = Meter(member)

    def _count_connection(self, *, connection: Connection, **_: Any) -> None:
        if (member := self._hub.membership.find(connection.id)) is not None:
            self._measure(member)

    def _count_event(self, *, connection: Connection, **_: Any) -> None:
        if (meter := self.meters.get(connection.id)) is not None:
            meter.events += 1
        if hub_of(connection.id) == self._hub.id:
            self._events += 1


_traffics: dict[Hub, Traffic] = {}


def traffic_of(hub: Hub) -> Traffic:
    """Return the traffic of a hub."""
    for other in [each for each in _traffics if each.loop.is_closed()]:
        _traffics[other].stop()
    return _traffics.setdefault(hub, Traffic(hub))
