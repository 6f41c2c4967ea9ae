"""The part of the rooms API that reads the history of a declared room."""

from datetime import UTC, datetime
from typing import Any

from django_etp.exceptions import InvalidRoomName
from django_etp.history.limits import History
from django_etp.history.store import Entry, Position
from django_etp.hub.hub import Hub
from django_etp.hub.names import group_name, room_name
from django_etp.protocol.frames import decode
from django_etp.protocol.past import PastEvent

from .calls import Calls

__all__ = ["PastEvent", "RoomHistories", "limits_of", "read_past"]


class RoomHistories:
    """The histories of the rooms of one namespace."""

    namespace: str

    async def aposition(self, room: str) -> str:
        """Return the position of the last event of a declared room with history.

        Read it before the queries of a page, and let the page join with it as ``since``: the client then gets the
        events that were sent after the position, or the state of the room.

        Raises:
            HistoryUnavailable: the history cannot be reached.
            InvalidRoomName: the name is not that of a declared room with history.
            LayerUnavailable: the event loop that serves this process's connections has ended, or is busy.
        """
        return await Calls(self.namespace).arun(_position, room_name(room)) or _refuse(room)

    def position(self, room: str) -> str:
        """See aposition()."""
        return Calls(self.namespace).run("position", _position, room_name(room)) or _refuse(room)

    async def ahistory(self, room: str, *, limit: int = 50, before: str | None = None) -> list[PastEvent]:
        """Return events of the history of a declared room, the oldest first.

        Args:
            room: the name of the room.
            limit: how many events at most.
            before: the position of an event: those before it are returned. By default, the last ones. There are none
                before a position that the room did not have, or that is from before the history was emptied.

        Raises:
            HistoryUnavailable, InvalidRoomName, LayerUnavailable: see aposition().
            ValueError: the limit is no number above 0.
        """
        past = await Calls(self.namespace).arun(read_past, room_name(room), _checked(limit), before)
        return _refuse(room) if past is None else past

    def history(self, room: str, *, limit: int = 50, before: str | None = None) -> list[PastEvent]:
        """See ahistory()."""
        past = Calls(self.namespace).run("history", read_past, room_name(room), _checked(limit), before)
        return _refuse(room) if past is None else past


async def _position(hub: Hub, namespace: str, room: str) -> str:
    limits_of(hub, namespace, room)
    return str(await hub.histories.store.position(group_name(namespace, room)))


async def read_past(hub: Hub, namespace: str, room: str, most: int, before: str | None) -> list[PastEvent]:
    """Return events of the history of a room. See RoomHistories.ahistory()."""
    limits = limits_of(hub, namespace, room)
    position = None
    if before is not None and (position := Position.parse(before)) is None:
        return []
    entries = await hub.histories.store.read_before(group_name(namespace, room), position, most, limits)
    return [_past_event(entry) for entry in entries]


def _past_event(entry: Entry) -> PastEvent:
    event = decode(entry.text)
    return PastEvent(str(entry.position), event.name, event.data, datetime.fromtimestamp(entry.at, UTC))


def limits_of(hub: Hub, namespace: str, room: str) -> History:
    """Return how much a room keeps; raise ``InvalidRoomName`` if it has no history."""
    return hub.histories.limits(namespace, room) or _refuse(room)


def _refuse(room: str) -> Any:
    raise InvalidRoomName(
        f"The room {room!r:.80} has no history. Declare it with etp_room(..., history=History(size=..., seconds=...))."
    )


def _checked(limit: int) -> int:
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
        raise ValueError(f"limit= must be a number of events above 0, got {limit!r:.80}.")
    return limit
