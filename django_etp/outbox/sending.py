"""Send the events of one wave to the members of their rooms, and find out what became of them.

Rules kept here:

- An event is sent once the channel layer has confirmed it, and each process with members of its rooms has received it.
  A broker that was killed may have confirmed what it never passed on, and processes may not hear it again at once. So
  all processes are asked after each wave, before the events are removed.
- A relay that has just begun knows no other process, and after a restart of the broker none may reply. So it expects
  those that the relay before it knew, until it has heard of each, or for so long that a living one would be known.
- The layer may be out of order, or refuse what is wrong with one event. If a send fails, an empty frame, which no
  member gets, follows to the same room. Only if the layer takes that, the event was refused.
"""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

from django_etp.cluster.messages import Frame
from django_etp.concurrency.confirmations import Confirmation, confirmed
from django_etp.exceptions import EtpError, IncompleteAnswer, LayerUnavailable
from django_etp.hub.hub import Hub
from django_etp.hub.names import group_name
from django_etp.rooms.queries import FindMissed
from django_etp.serialization import to_frame

from .models import OutboxEvent

__all__ = ["SEND_LIMIT", "Outcome", "send"]

# How long other processes may take to reply whether they have received the events, in seconds.
_REPLY_LIMIT = 1.0
# When they are asked, in seconds after the send or the last reply: events and queries take different ways.
_ASK_AFTER = (0.0, 0.02, 0.05, 0.1, 0.2)
# How long send() takes at most: twice the time that the channel layer has for a message, and the replies, in seconds.
SEND_LIMIT = 20.0


@dataclass(slots=True)
class Outcome:
    """The fate of the events of a wave.

    Attributes:
        sent: those that have arrived.
        refused: those that the layer refused, or that cannot be sent at all, with the reason.
        problem: why the others have not arrived, or may not have; empty if there are none.
        is_certain: all processes have replied.
        hubs: the hubs of other processes that were asked; ``None`` if that may not be all of them.
    """

    sent: list[OutboxEvent] = field(default_factory=list)
    refused: list[tuple[OutboxEvent, str]] = field(default_factory=list)
    problem: str = ""
    is_certain: bool = True
    hubs: frozenset[str] | None = None


async def send(
    hub: Hub, events: Sequence[OutboxEvent], *, expected: frozenset[str] = frozenset(), is_patient: bool
) -> Outcome:
    """Send events through a hub, on its loop.

    Args:
        expected: the hubs of other processes that were known at the wave before, maybe to another relay.
        is_patient: events count as sent only if all processes reply.
    """
    outcome = Outcome()
    taken: list[OutboxEvent] = []
    not_taken: list[tuple[OutboxEvent, LayerUnavailable]] = []
    for event, sends in _start(hub, events, outcome):
        try:
            await confirmed(sends)
        except LayerUnavailable as error:
            not_taken.append((event, error))
        else:
            taken.append(event)
    await _find_refused(hub, not_taken, outcome)
    missed = await _find_missed(hub, taken, outcome, expected, is_patient=is_patient) if taken else set()
    outcome.sent += [event for event in taken if missed.isdisjoint(_rooms(event))]
    return outcome


def _start(hub: Hub, events: Sequence[OutboxEvent], outcome: Outcome) -> list[tuple[OutboxEvent, list[Confirmation]]]:
    """Send events, and return their confirmations. No other event comes between those to one room."""
    begun: set[tuple[str, str]] = set()
    started = []
    for event in events:
        try:
            text = to_frame(event.event, bytes(event.payload).decode())
            rooms = event.room_names
            frame = Frame(
                text,
                frozenset(json.loads(event.exclude)),
                tuple(rooms) if len(rooms) > 1 else (),
                event.emission,
                begins_message=begun.isdisjoint(_rooms(event)),
            )
            started.append((event, hub.relay(event.namespace, rooms, frame)))
            begun.update(_rooms(event))
        except LayerUnavailable as error:
            outcome.problem = str(error)
            break
        except (EtpError, ValueError) as error:
            outcome.refused.append((event, f"{type(error).__name__}: {error}"))
    return started


async def _find_refused(hub: Hub, events: Sequence[tuple[OutboxEvent, LayerUnavailable]], outcome: Outcome) -> None:
    """Record the events that the layer refused, if it takes others for the same rooms."""
    working: set[str] = set()
    for event, error in events:
        if event.rooms not in working:
            # No member gets it: this hub delivers no event a second time, and others find no such connection.
            empty = Frame("", emission=event.emission, connection_id="none", begins_message=True)
            try:
                await confirmed(hub.relay(event.namespace, event.room_names, empty))
            except LayerUnavailable as problem:
                outcome.problem = str(problem)
                return
            working.add(event.rooms)
        outcome.refused.append((event, str(error.__cause__ or error)))


async def _find_missed(
    hub: Hub, events: Sequence[OutboxEvent], outcome: Outcome, expected: frozenset[str], *, is_patient: bool
) -> set[tuple[str, str]]:
    """Return the rooms for which a process has not received the last event, and so none of them."""
    missed = {room: event.emission for event in events for room in _rooms(event)}
    problem = ""
    for pause in _ASK_AFTER:
        await asyncio.sleep(pause)
        unheard = hub.asker.unheard_of(expected)  # a query that is sent now may not reach them
        try:
            emissions = await _ask(hub, missed, outcome, is_patient=is_patient)
        except EtpError as error:
            problem = str(error)
            break
        if unheard and is_patient:
            problem = f"{len(unheard)} processes that had connections before have not been heard of yet."
            continue
        outcome.hubs = hub.asker.others
        missed = {room: emission for room, emission in missed.items() if emission in emissions}
        if not missed:
            return set()
        problem = f"A process has not received the events to {len(missed)} of its rooms."
    outcome.problem = problem
    return set(missed)


async def _ask(
    hub: Hub, emissions: dict[tuple[str, str], str], outcome: Outcome, *, is_patient: bool
) -> frozenset[str]:
    groups = tuple(group_name(namespace, room) for namespace, room in emissions)
    try:
        return await FindMissed("", groups, tuple(emissions.values())).ask(hub, _REPLY_LIMIT)
    except IncompleteAnswer as error:
        if is_patient:
            raise
        outcome.is_certain = False
        return cast(frozenset[str], error.answer)


def _rooms(event: OutboxEvent) -> list[tuple[str, str]]:
    return [(event.namespace, room) for room in event.room_names]
