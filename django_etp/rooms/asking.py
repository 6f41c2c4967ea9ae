"""Queries that send an event to members and return their answers to it."""

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django_etp.conf import ack_timeout, get_settings
from django_etp.exceptions import AckTimeout, ConnectionClosed, EtpError, EventFailed
from django_etp.hub.hub import Hub
from django_etp.hub.members import Member, RoomReply, check_id
from django_etp.hub.names import room_names
from django_etp.hub.queries import ConnectionQuery, HubQuery, register_query
from django_etp.protocol.failures import facts_of, failure_from_peer
from django_etp.protocol.frames import Event
from django_etp.serialization import TypedEvent, to_frame, to_parts

__all__ = ["AskConnection", "AskRooms"]


@register_query("ask_rooms")
@dataclass(frozen=True, slots=True)
class AskRooms(HubQuery[list[RoomReply]]):
    """Send an event to all members of rooms, and return their answers.

    Attributes:
        rooms: the names of the rooms.
        event: the name of the event.
        data: its data, as text.
        timeout: how long each member may take to answer, in seconds.
    """

    rooms: tuple[str, ...]
    event: str
    data: str
    timeout: float

    @classmethod
    def create(
        cls,
        namespace: str,
        room_or_rooms: str | Iterable[str],
        event: str | TypedEvent,
        data: object,
        timeout: float | None,
    ) -> "AskRooms":
        """Return the query for a caller's arguments. See Rooms.aemit_with_ack() for what is raised."""
        seconds = ack_timeout(timeout)
        return cls(namespace, tuple(room_names(room_or_rooms)), *_checked(event, data), seconds)

    @property
    def limit(self) -> float:
        """How long a hub may take to reply, in seconds: its members' time to answer, then its own."""
        return self.timeout + get_settings().question_timeout

    async def reply(self, hub: Hub) -> list[list[Any]]:
        """Ask the members here, side by side, and return a row for each."""
        members = {member.id: member for room in self.rooms for member in hub.membership.members(self.namespace, room)}
        inside = hub.membership.guests.room_of
        asking = (
            _ask(member, self.event, self.data, self.timeout, inside(member, self.rooms)) for member in members.values()
        )
        return await asyncio.gather(*asking)

    def merge(self, replies: list[list[list[Any]]]) -> list[RoomReply]:
        """Return a reply for each member in all processes."""
        return [
            RoomReply(row[0], row[1], _read_event(row) if row[1] == "answered" else None)
            for rows in replies
            for row in rows
        ]


@register_query("ask_one")
@dataclass(frozen=True, slots=True)
class AskConnection(ConnectionQuery[Event]):
    """Send an event to one connection, and return its answer. See AskRooms for the attributes."""

    event: str
    data: str
    timeout: float

    @classmethod
    def create(
        cls, namespace: str, connection_id: str, event: str | TypedEvent, data: object, timeout: float | None
    ) -> "AskConnection":
        """Return the query for a caller's arguments. See Rooms.aemit_to_with_ack() for what is raised."""
        connection_id = check_id(connection_id)
        seconds = ack_timeout(timeout)
        return cls(namespace, connection_id, *_checked(event, data), seconds)

    @property
    def limit(self) -> float:
        """How long the hub may take to reply, in seconds: the connection's time to answer, then its own."""
        return self.timeout + get_settings().question_timeout

    async def reply_for(self, member: Member, hub: Hub) -> list[Any]:
        """Ask the connection, and return its row."""
        return await _ask(member, self.event, self.data, self.timeout)

    def read(self, reply: list[Any]) -> Event:
        """Return the answer in the row, or raise what happened in place of one."""
        match reply:
            case [_, "answered", *_]:
                return _read_event(reply)
            case [_, "timed_out"]:
                raise self._timed_out()
            case [_, "failed", code, message, *facts]:
                raise failure_from_peer(code, message, json.loads(facts[0]) if facts else {})
        return self.gone()

    def no_reply(self, reason: str) -> EtpError:
        """Return an ``AckTimeout``: to the caller a silent hub is a silent connection."""
        return AckTimeout(
            f"Connection {self.connection_id!r:.120} did not answer {self.event!r:.80}, as its process did not reply: "
            f"{reason}"
        )

    def _timed_out(self) -> AckTimeout:
        return AckTimeout(
            f"Connection {self.connection_id!r:.120} did not answer {self.event!r:.80} within {self.timeout:g} s."
        )


async def _ask(member: Member, event: str, data: str, timeout: float, room: str | None = None) -> list[Any]:
    """Ask a member, maybe inside a room, and return a row: its id, the status of the reply, the answer or failure."""
    try:
        answer = await member.ask(event, data, timeout, room)
    except AckTimeout:
        return [member.id, "timed_out"]
    except ConnectionClosed:
        return [member.id, "gone"]
    except EventFailed as failure:
        facts = facts_of(failure)
        # As JSON: not every serializer of a layer takes all that JSON can hold.
        return [member.id, "failed", failure.code, failure.message, *([json.dumps(facts)] if facts else [])]
    except EtpError as error:
        return [member.id, "failed", "handler_error", str(error)]
    # Numbers go as text: not every serializer of a layer takes 64 bits.
    return [member.id, "answered", answer.name, str(answer.ack_id), answer.data]


def _read_event(row: list[Any]) -> Event:
    return Event(row[2], int(row[3]), row[4])


def _checked(event: str | TypedEvent, data: object) -> tuple[str, str]:
    """Return the event's name and the wire text of the data; raise if either cannot be sent."""
    name, text = to_parts(event, data)
    to_frame(name, text)
    return name, text
