"""The events of one process on their way to a store."""

import asyncio

import pytest

from django_etp import HistoryUnavailable
from django_etp.history import MemoryHistory, appender
from django_etp.history.appender import Appender
from django_etp.history.store import Appended, NewEvent
from tests.support.histories import LIMITS, new_events, new_room, texts


class SlowStore(MemoryHistory):
    """A store that takes events when the test lets it, and records how many at a time."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.gate = asyncio.Event()
        self.error: Exception | None = None

    async def append(self, events: "list[NewEvent]") -> list[Appended]:  # type: ignore[override]
        self.batches.append(len(events))
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return await super().append(events)


async def test_events_keep_the_order_of_the_calls_and_share_calls_to_the_store() -> None:
    store, room = SlowStore(), new_room()
    events = Appender(store, asyncio.ensure_future)
    futures = [events.append(event) for event in new_events(room, map(str, range(3)))]
    await asyncio.sleep(0)
    futures += [events.append(event) for event in new_events(room, map(str, range(3, 1200)))]
    store.gate.set()
    appended = await asyncio.gather(*futures)
    assert [each.position.number for each in appended] == list(range(1, 1201))
    assert store.batches == [3, 500, 500, 197]
    assert (texts(await store.read_before(room, None, 2, LIMITS))) == ["1198", "1199"]
    await events.settle(1)
    assert (await events.append(new_events(room, ["x"])[0])).position.number == 1201


@pytest.mark.parametrize("error", [HistoryUnavailable("It is down."), ValueError("?")])
async def test_a_failure_reaches_all_of_the_call_and_those_after_it_are_tried(error: Exception) -> None:
    store = SlowStore()
    store.error = error
    events, room = Appender(store, asyncio.ensure_future), new_room()
    failing = [events.append(event) for event in new_events(room, "ab")]
    await asyncio.sleep(0)
    waiting = events.append(new_events(room, "c")[0])
    store.gate.set()
    results = await asyncio.gather(*failing, return_exceptions=True)
    assert [type(result) for result in results] == [HistoryUnavailable] * 2
    assert results[0] is not results[1]
    assert str(error) in str(results[0])
    store.error = None
    with pytest.raises(HistoryUnavailable):  # it was in the second call, which failed, too
        await waiting
    assert (await events.append(new_events(room, "d")[0])).position.number == 1


async def test_a_caller_that_gives_up_changes_nothing_for_others() -> None:
    store, room = SlowStore(), new_room()
    events = Appender(store, asyncio.ensure_future)
    given_up, other = (events.append(event) for event in new_events(room, "ab"))
    await asyncio.sleep(0)
    given_up.cancel()
    store.gate.set()
    assert (await other).position.number == 2


async def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    store, room = SlowStore(), new_room()
    events = Appender(store, asyncio.ensure_future)
    monkeypatch.setattr(appender, "_MOST_WAITING", 3)
    futures = [events.append(event) for event in new_events(room, "abc")]
    with pytest.raises(HistoryUnavailable, match="Too many events"):
        events.append(new_events(room, "d")[0])
    monkeypatch.setattr(appender, "_MOST_WAITING", 4)
    monkeypatch.setattr(appender, "_MOST_BYTES", 3)
    with pytest.raises(HistoryUnavailable, match="Too many events"):
        events.append(new_events(room, "d")[0])
    store.gate.set()
    await asyncio.gather(*futures)
    # One that is larger than all that may wait is sent alone.
    assert (await events.append(new_events(room, ["large"])[0])).position.number == 4
