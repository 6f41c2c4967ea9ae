"""Many members who return to one room share the reads of the store."""

import asyncio

import pytest

from django_etp import History, HistoryUnavailable
from django_etp.history import MemoryHistory
from django_etp.history.store import Position, Recovery
from django_etp.hub.recoveries import Recoveries
from tests.support.histories import new_events, new_room, texts


class CountingStore(MemoryHistory):
    """A store in memory that counts how often it is read, and takes a turn of the loop for it."""

    def __init__(self) -> None:
        self.reads = 0
        self.is_down = False

    async def read_after(self, room: str, since: Position | None, limits: History) -> Recovery:
        self.reads += 1
        await asyncio.sleep(0)
        if self.is_down:
            raise HistoryUnavailable("It is down.")
        return await super().read_after(room, since, limits)


async def prepare(limits: History, count: int) -> tuple[CountingStore, Recoveries, list[Position]]:
    store, room = CountingStore(), new_room()
    recoveries = Recoveries(room, limits, lambda: store, asyncio.ensure_future)
    start = await store.position(room)
    appended = await store.append(new_events(room, map(str, range(count)), limits))
    return store, recoveries, [start, *(each.position for each in appended)]


async def test_all_who_wait_share_a_read() -> None:
    store, recoveries, positions = await prepare(History(), 50)
    waiting = [recoveries.read(positions[number % 50]) for number in range(1000)]
    recovered = await asyncio.gather(*waiting)
    assert store.reads <= 2
    for number, (position, missed) in enumerate(recovered):
        assert position == positions[-1]
        assert texts(missed) == [str(each) for each in range(number % 50, 50)]


async def test_those_who_were_away_for_too_long_do_not_spoil_it_for_others() -> None:
    store, recoveries, positions = await prepare(History(size=10), 300)
    recovered = await asyncio.gather(*(recoveries.read(positions[number]) for number in (0, 100, 291, 295, 300)))
    assert [texts(missed) for _, missed in recovered] == [
        None,
        None,
        [str(number) for number in range(291, 300)],
        [str(number) for number in range(295, 300)],
        [],
    ]
    assert {position for position, _ in recovered} == {positions[-1]}
    assert store.reads <= 2


async def test_a_failure_reaches_all_who_wait_and_the_next_read_is_tried() -> None:
    store, recoveries, positions = await prepare(History(), 3)
    store.is_down = True
    failed = await asyncio.gather(*(recoveries.read(positions[0]) for _ in range(3)), return_exceptions=True)
    assert [type(error) for error in failed] == [HistoryUnavailable] * 3
    store.is_down = False
    assert texts((await recoveries.read(positions[1])).missed) == ["1", "2"]


async def test_a_caller_that_gives_up_changes_nothing_for_others() -> None:
    _, recoveries, positions = await prepare(History(), 3)
    given_up, other = (asyncio.ensure_future(recoveries.read(positions[0])) for _ in range(2))
    await asyncio.sleep(0)
    given_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await given_up
    assert texts((await other).missed) == ["0", "1", "2"]
