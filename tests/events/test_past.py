"""Members of rooms with history that scroll back."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from django_etp import Connection, EventFailed, History, etp_room, rooms
from django_etp.testing import EtpCommunicator
from tests.support.declared import guest


@pytest.fixture(autouse=True)
def _rooms(etp_registry: Any) -> None:
    @etp_room("orders/<int:pk>", history=History(size=1500))
    async def order(connection: Connection, pk: int) -> None: ...

    @etp_room("teams/<int:pk>")
    async def team(connection: Connection, pk: int) -> None: ...


async def ask(client: EtpCommunicator, content: Any) -> Any:
    return (await client._ask("__history", json.dumps(content), 3.0)).json()


async def failure(client: EtpCommunicator, content: Any) -> str:
    with pytest.raises(EventFailed) as caught:
        await ask(client, content)
    return caught.value.code


async def test_a_member_scrolls_back() -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    for number in range(7):
        await rooms.aemit("orders/5", "changed", {"number": number})
    await rooms.aemit("orders/5", "gone")
    async with guest() as client:
        room = await client.join("orders/5")
        last = await room.history(limit=3)
        assert [(each.event, each.data) for each in last] == [
            ("changed", '{"number":5}'),
            ("changed", '{"number":6}'),
            ("gone", ""),
        ]
        assert last == (await rooms.ahistory("orders/5"))[-3:]
        assert last[-1].position == room.position
        assert before < last[0].at < datetime.now(UTC) + timedelta(seconds=1)
        earlier = await room.history(before=last[0].position)
        assert [each.json()["number"] for each in earlier] == [0, 1, 2, 3, 4]
        assert await room.history(before=earlier[0].position) == []
        assert await room.history(before="elsewhere") == []
        assert len((await ask(client, {"room": "orders/5"}))["events"]) == 8


async def test_an_answer_has_at_most_1000_events_and_fits_into_a_message(settings: Any) -> None:
    settings.ETP = {"MAX_MESSAGE_SIZE": 50_000}
    async with guest() as client:
        room = await client.join("orders/5")
        await asyncio.gather(*(rooms.aemit("orders/5", "n", number) for number in range(1200)))
        async with guest() as other:
            joined = await other.join("orders/5", since=None)
            some = await joined.history(limit=5000)
            assert 100 < len(some) < 1000
            assert some[-1].data == "1199"
            found = some
            while some := await joined.history(limit=5000, before=some[0].position):
                found = some + found
            assert [int(each.data) for each in found] == list(range(1200))
            settings.ETP = {}
            assert len(await joined.history(limit=5000)) == 1000
            settings.ETP = {"MAX_MESSAGE_SIZE": 1024}
            await rooms.aemit("orders/5", "long", "x" * 2000)
            await joined.expect_event("long")
            assert [each.event for each in await joined.history(limit=5)] == ["long"]
        assert room.state is None


@pytest.mark.parametrize("limit", [0, -1, True, "5", 1.5, None, []])
async def test_another_limit_is_refused(limit: Any) -> None:
    async with guest() as client:
        await client.join("orders/5")
        assert await failure(client, {"room": "orders/5", "limit": limit}) == "invalid_payload"


@pytest.mark.parametrize("content", [{"room": "orders/5", "before": 5}, {"room": 5}, {}, [], "x"])
async def test_another_payload_is_refused(content: Any) -> None:
    async with guest() as client:
        await client.join("orders/5")
        assert await failure(client, content) == "invalid_payload"


async def test_a_room_without_history_has_no_past() -> None:
    async with guest() as client:
        await client.join("teams/5")
        assert await failure(client, {"room": "teams/5"}) == "not_found"


async def test_the_past_is_for_members() -> None:
    await rooms.aemit("orders/5", "changed")
    async with guest() as client:
        assert await failure(client, {"room": "orders/5"}) == "permission_denied"
        room = await client.join("orders/5")
        assert len(await room.history()) == 1
        await room.leave()
        assert await failure(client, {"room": "orders/5"}) == "permission_denied"
