"""The position of a room at a moment."""

import asyncio
import time
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from django_etp import Connection, History, etp_room, rooms
from django_etp.history.memory import MemoryHistory
from django_etp.history.store import Position
from django_etp.rooms import moments
from django_etp.rooms.moments import anote_moment, note_moment, position_at
from tests.support.declared import guest


@pytest.fixture(autouse=True)
def _rooms(etp_registry: Any) -> None:
    @etp_room("orders/<int:pk>", history=History(size=3))
    async def order(connection: Connection, pk: int) -> None: ...


async def at(moment: float | None) -> str | None:
    assert moment is not None
    return await sync_to_async(position_at)("default", "orders/5", moment)


async def test_a_position_is_that_of_the_last_event_before_the_moment() -> None:
    assert await at(await anote_moment()) == await rooms.aposition("orders/5")
    for number in range(3):
        start, position = await anote_moment(), await rooms.aposition("orders/5")
        for _ in range(number):
            await rooms.aemit("orders/5", "changed")
        assert await at(start) == position
    assert await at(await sync_to_async(note_moment)()) == await rooms.aposition("orders/5")


async def test_a_client_does_not_recover_if_events_after_the_moment_may_be_gone() -> None:
    start = await anote_moment()
    for number in range(5):
        await rooms.aemit("orders/5", "changed", number)
    position = Position.parse(await at(start))
    past = await rooms.ahistory("orders/5")
    first = Position.parse(past[0].position)
    assert position is not None
    assert first is not None
    assert position == (first.epoch, first.number - 2)


class HangingHistory(MemoryHistory):
    """A store that may hang, as a server of its own may."""

    asked = 0
    hangs = False

    async def now(self) -> float:
        HangingHistory.asked += 1
        if HangingHistory.hangs:
            await asyncio.Event().wait()
        return await super().now()


async def test_a_store_that_hangs_holds_up_one_request_and_is_asked_again_later(
    settings: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings.ETP = {"HISTORY": {"BACKEND": f"{__name__}.HangingHistory"}}
    monkeypatch.setattr(HangingHistory, "hangs", True)
    async with guest():
        began_at = time.monotonic()
        assert await anote_moment() is None
        assert time.monotonic() - began_at < 2
        assert [await anote_moment(), await sync_to_async(note_moment)()] == [None, None]
        assert HangingHistory.asked == 1
        assert len(caplog.records) == 1
        monkeypatch.setattr(HangingHistory, "hangs", False)
        moments._Failing.until = time.monotonic()  # the end of the test sets the settings, which forgets it
        assert await anote_moment() is not None
