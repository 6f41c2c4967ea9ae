"""One room in one process: connections that come and go, versions, and the shares of the others."""

import asyncio
from typing import Any

import pytest

from django_etp.hub.hub import Hub
from django_etp.presence.entries import Entry
from django_etp.presence.messages import MOST_AT_ONCE, Delta, Digest, read
from django_etp.presence.room import PresenceRoom
from django_etp.presence.tracker import tracker_of
from tests.support.hurry import hurried
from tests.support.layers import SharedLayer
from tests.support.presence import ROOM, hubs, sit

pytestmark = pytest.mark.usefixtures("layer")


def entry(key: str) -> Entry:
    return Entry(key, "{}", 1.0, 1.0, 1)


def deltas() -> list[Delta]:
    """Return the deltas that were sent until now."""
    texts = [frame if isinstance(frame, str) else frame[0] for _, message in SharedLayer.sent
             if message["type"] == "etp.room" for frame in message["frames"]]  # fmt: skip
    return [message for text in texts if text.startswith('["') and isinstance(message := read(text), Delta)]


async def opened(hub: Hub) -> PresenceRoom:
    room = await tracker_of(hub).open(*ROOM)
    room.enter("seat", "own", "{}")
    return room


@hurried
async def test_a_second_join_is_the_same_connection_with_the_latest_information():
    async with hubs(1) as (hub,):
        ana, room = await sit(hub, "ana"), await opened(hub)
        since = room.table.shown["own"].since
        await asyncio.sleep(0.3)
        room.enter("seat", "own", "{}")
        await asyncio.sleep(0.3)
        assert ana.changes == [("joined", "own")]
        room.enter("seat", "own", '{"a":1}')
        await asyncio.sleep(0.3)
        assert ana.members["own"] == {"key": "own", "info": {"a": 1}, "since": since, "connections": 1}


@hurried
async def test_a_connection_that_joins_again_as_another_user_is_that_user():
    async with hubs(1) as (hub,):
        ana, room = await sit(hub, "ana"), await opened(hub)
        await asyncio.sleep(0.3)
        room.enter("seat", "other", "{}")
        await asyncio.sleep(0.3)
        assert ana.changes == [("joined", "own"), ("joined", "other"), ("left", "own")]


@hurried
async def test_a_leave_of_a_connection_that_is_not_there_does_nothing():
    async with hubs(1) as (hub,):
        room = await opened(hub)
        room.leave("unknown", 0.0)
        room.leave("seat", 10.0)
        room.leave("seat", 10.0)
        assert room.table.shown["own"].connections == 1


@hurried
async def test_a_user_who_left_on_purpose_and_by_accident_stays_for_the_grace_of_the_accident():
    async with hubs(1) as (hub,):
        ana, room = await sit(hub, "ana"), await opened(hub)
        room.enter("second", "own", "{}")
        await asyncio.sleep(0.3)
        room.leave("seat", 10.0)
        room.leave("second", 0.0)
        await asyncio.sleep(9)
        assert ana.counts == {"ana": 1, "own": 2}
        await asyncio.sleep(2)
        assert ana.counts == {"ana": 1}


@hurried
async def test_deltas_continue_each_other_and_are_bounded():
    async with hubs(2) as (hub, _):
        seats = [await sit(hub, str(number)) for number in range(2 * MOST_AT_ONCE + 10)]
        await asyncio.sleep(0.3)
        for seat in seats:
            await seat.leave()
        await asyncio.sleep(0.3)
        again = await sit(hub, "again")
        await asyncio.sleep(0.3)
        sent = deltas()
        assert max(len(each.entries) + len(each.removed) for each in sent) <= MOST_AT_ONCE
        assert [each.end for each in sent] == sorted({each.end for each in sent})
        assert [each.start for each in sent] == [0, *(each.end for each in sent[:-2]), 0]
        assert sum(len(each.entries) for each in sent) == len(seats) + 1
        assert sum(len(each.removed) for each in sent) == len(seats)
        await again.leave()


@hurried
async def test_a_delta_that_does_not_continue_the_share_makes_the_room_ask_for_it():
    async with hubs(2) as (here, there):
        room, bob = await opened(here), await sit(there, "bob")
        await asyncio.sleep(0.5)
        share = room.table.shares[there.id]
        assert set(share.entries) == {"bob"}
        room.receive(Delta(there.id, share.version - 1, share.version, (entry("old"),)))
        assert set(share.entries) == {"bob"}
        room.receive(Delta(there.id, share.version + 5, share.version + 6, (entry("forged"),)))
        room.receive(Delta(there.id, share.version, share.version + 1, (entry("held"),)))
        assert set(room.table.shown) == {"own", "bob"}
        await asyncio.sleep(0.5)
        assert set(room.table.shown) == {"own", "bob", "held"}
        await bob.leave()


@hurried
async def test_the_share_of_a_process_that_does_not_reply_stays_as_it_is():
    async with hubs(1) as (hub,):
        room = await opened(hub)
        room.receive(Delta("f" * 16, 0, 5, (entry("bob"),)))
        room.receive(Delta("f" * 16, 8, 9, (entry("cleo"),)))
        await asyncio.sleep(5)
        assert set(room.table.shown) == {"own", "bob"}
        room.receive(Delta("f" * 16, 5, 6, (), ("bob",)))
        assert set(room.table.shown) == {"own"}


@hurried
async def test_a_digest_drops_a_share_that_its_process_does_not_have_any_more():
    async with hubs(1) as (hub,):
        room, other = await opened(hub), "f" * 16
        room.receive(Delta(other, 0, 5, (entry("bob"),)))
        room.compare(Digest(other, 4))  # it is older than the delta
        room.compare(Digest(other, 9, low="g"))  # it is about other rooms
        assert set(room.table.shown) == {"own", "bob"}
        room.compare(Digest(other, 9, versions={room.id: 5}))
        assert set(room.table.shown) == {"own", "bob"}
        room.compare(Digest(other, 9))
        assert set(room.table.shown) == {"own"}


@hurried
async def test_a_large_share_arrives_in_pages():
    async with hubs(2) as (here, there):
        seats: list[Any] = [await sit(there, str(number)) for number in range(2500)]
        ana = await sit(here, "ana")
        assert ana.answer["count"] == 2501
        for seat in seats[:10]:
            await seat.leave()
        await asyncio.sleep(3)
        assert ana.told[-1] == {"count": 2491}
