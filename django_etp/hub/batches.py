"""Send the events of a transaction to other processes as one batch.

Rules kept here:

- Each group gets the batch in one message, as far as a message can hold it.
- If the batch is for several rooms, each of their groups gets all of it. So a member of several of the rooms gets the
  events in their order. A process delivers what reaches it first.
- A batch that would travel too often goes through the group of its namespace, once.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from django_etp.cluster.links import Link
from django_etp.cluster.load import Load
from django_etp.cluster.messages import Frame
from django_etp.concurrency.confirmations import Confirmation

from .emissions import Emissions
from .members import Member
from .names import group_name
from .pace import Pace

__all__ = ["Batches", "Send"]

# If a batch to several groups would be more frames and names in all, it goes through the group of the namespace.
_MANY = 4096


@dataclass(frozen=True, slots=True)
class Send:
    """One event on its way to rooms.

    Attributes:
        namespace: that of the rooms.
        rooms: the rooms' names, each once.
        text: the frame.
        exclude: ids of connections that do not get it.
    """

    namespace: str
    rooms: tuple[str, ...]
    text: str
    exclude: frozenset[str] = frozenset()


class Deliver(Protocol):
    """Hands a frame to the members of rooms in this process; returns the members."""

    def __call__(
        self, namespace: str, rooms: Sequence[str | None], text: str, exclude: frozenset[str]
    ) -> Sequence[Member]: ...


class Batches:
    """The batches that one hub sends.

    Args:
        link: the hub's way to the others.
        emissions: the sends that the hub has made.
        pace: slows senders down.
        deliver: delivers a frame to members of the hub.
    """

    def __init__(self, link: Link, emissions: Emissions, pace: Pace, deliver: Deliver) -> None:
        self._link = link
        self._emissions = emissions
        self._pace = pace
        self._deliver = deliver

    def load(self) -> Load:
        """Return what waits for the channel layer, and how fast that is."""
        return self._link.load()

    def deliver(self, send: Send) -> tuple[int, list[Confirmation]]:
        """Deliver an event to the members of this process; return how many they are, and what its sender waits for."""
        members = self._deliver(send.namespace, send.rooms, send.text, send.exclude)
        return len(members), self._pace.slow(members, len(send.text))

    def route(self, sends: Sequence[Send]) -> tuple[list[str], list[str]]:
        """Return the groups that events of one namespace go through, and those beside which they go."""
        rooms = dict.fromkeys(room for send in sends for room in send.rooms)
        namespace = sends[0].namespace
        groups = [group_name(namespace, room) for room in rooms]
        names = sum(1 + len(send.rooms) + len(send.exclude) for send in sends)
        if len(groups) > 1 and len(groups) * names > _MANY:
            return [group_name(namespace, None)], groups
        return groups, []

    def publish(self, sends: Sequence[Send], groups: Sequence[str], beside: Collection[str]) -> Iterator[Confirmation]:
        """Send events of one namespace through groups to other processes; yield what confirms that.

        They overtake nothing that waits for these groups, or for those ``beside``.

        Raises:
            LayerUnavailable: too many events wait already. Those that came before are sent.
        """
        if sends[0].rooms[1:] or any(send.rooms != sends[0].rooms for send in sends):
            names = self._emissions.new_batch()
            frames = [Frame(send.text, send.exclude, send.rooms, next(names)) for send in sends]
        else:
            frames = [Frame(send.text, send.exclude) for send in sends]
        yield from self._link.publish(groups, frames[0], beside=[group for group in beside if group not in groups])
        # The publisher adds them to the messages that hold the first.
        for frame in frames[1:]:
            for group in groups:
                yield from self._link.publish([group], frame)
