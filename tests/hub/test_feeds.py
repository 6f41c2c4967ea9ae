"""The events of one room on their way to the members in a process, with a real store."""

import asyncio
from itertools import permutations

import pytest

from django_etp import History, HistoryUnavailable
from django_etp.history import MemoryHistory
from django_etp.history.store import Entry, Position, Recovery, new_epoch
from django_etp.hub.feeds import Feed
from tests.support.histories import LIMITS, append, forget, new_room
from tests.support.inprocess import until


class Room:
    """One room in a store in memory, and what the members of a process got of it."""

    def __init__(self, limits: History = LIMITS) -> None:
        self.store = MemoryHistory()
        self.name = new_room()
        self.got: list[str] = []
        self.lost = 0
        self.reads = 0
        self.is_down = False
        self.is_slow = False
        self._limits = limits
        self.feed = Feed(lambda entry: self.got.append(entry.text), self._read, self._lose, asyncio.ensure_future)

    async def _read(self, since: Position | None) -> Recovery:
        self.reads += 1
        if self.is_slow:
            await asyncio.sleep(0)
        if self.is_down:
            raise HistoryUnavailable("It is down.")
        return await self.store.read_after(self.name, since, self._limits)

    def _lose(self, count: int) -> None:
        self.lost += count

    async def append(self, *texts: str) -> list[Entry]:
        positions = await append(self.store, self.name, *texts, limits=self._limits)
        return [Entry(position, 0.0, text) for position, text in zip(positions, texts, strict=True)]


@pytest.mark.parametrize("order", list(permutations(range(3))))
async def test_events_are_delivered_in_order_and_once_however_they_come(order: tuple[int, ...]) -> None:
    room = Room()
    await room.append("before")
    await room.feed.begin()
    entries = await room.append("a", "b", "c")
    for number in (*order, *order):
        room.feed.take(entries[number])
    assert room.got == ["a", "b", "c"]
    assert room.reads == 1


async def test_what_comes_before_the_feed_knows_where_it_begins_waits() -> None:
    room = Room()
    early = await room.append("a", "b")
    for entry in early:
        room.feed.take(entry)
    beginning = asyncio.ensure_future(room.feed.begin())
    assert room.got == []
    await beginning
    room.feed.take(early[1])
    [later] = await room.append("c")
    room.feed.take(later)
    assert room.got == ["c"]


async def test_an_event_after_the_read_position_that_came_early_is_delivered() -> None:
    room = Room()
    gate = asyncio.Event()
    read = room._read

    async def read_slowly(since: Position | None) -> Recovery:
        recovery = await read(since)
        await gate.wait()
        return recovery

    room.feed._read = read_slowly
    beginnings = [asyncio.ensure_future(room.feed.begin()) for _ in range(2)]
    await asyncio.sleep(0)
    for entry in await room.append("a", "b"):
        room.feed.take(entry)
    gate.set()
    await asyncio.gather(*beginnings)
    assert room.got == ["a", "b"]


async def test_all_who_come_before_the_feed_has_begun_share_a_read() -> None:
    room = Room()
    room.is_slow = True
    await asyncio.gather(*(room.feed.begin() for _ in range(50)))
    assert room.reads == 1


async def test_all_who_come_meanwhile_share_a_failure_and_the_next_one_reads() -> None:
    room = Room()
    room.is_slow = True
    room.is_down = True
    failures = await asyncio.gather(*(room.feed.begin() for _ in range(50)), return_exceptions=True)
    assert [type(failure) for failure in failures] == [HistoryUnavailable] * 50
    assert room.reads == 1
    room.is_down = False
    await room.feed.begin()
    assert room.reads == 2


async def test_if_the_one_who_reads_gives_up_another_one_reads() -> None:
    room = Room()
    room.is_slow = True
    callers = [asyncio.ensure_future(room.feed.begin()) for _ in range(3)]
    await asyncio.sleep(0)
    callers[0].cancel()
    callers[1].cancel()
    await callers[2]
    assert room.feed.position is not None
    assert room.reads == 2


async def test_events_that_do_not_come_are_read_from_the_store() -> None:
    room = Room()
    await room.feed.begin()
    entries = await room.append("a", "b", "c")
    room.feed.take(entries[2])
    assert room.got == []
    await until(lambda: room.got == ["a", "b", "c"])
    room.feed.take(entries[0])
    assert room.got == ["a", "b", "c"]
    assert room.lost == 0


async def test_a_check_delivers_what_nobody_sent() -> None:
    room = Room()
    await room.feed.begin()
    await room.append("a", "b")
    room.feed.check()
    room.feed.check()
    await until(lambda: room.got == ["a", "b"])


async def test_a_store_that_is_down_is_read_once_it_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django_etp.hub.feeds._RETRY_AFTER", 0.01)
    room = Room()
    room.is_down = True
    with pytest.raises(HistoryUnavailable):
        await room.feed.begin()
    room.is_down = False
    await room.feed.begin()
    entries = await room.append("a", "b")
    room.is_down = True
    room.feed.take(entries[1])
    await until(lambda: room.reads >= 5)
    assert room.got == []
    room.is_down = False
    await until(lambda: room.got == ["a", "b"])


async def test_the_feed_goes_on_in_the_next_epoch_if_the_store_was_emptied() -> None:
    room = Room()
    await room.append("a")
    await room.feed.begin()
    await forget(room.store, room.name)
    entries = await room.append("b", "c")
    room.feed.take(entries[1])
    await until(lambda: room.got == ["b", "c"])
    assert room.lost == 0
    assert room.feed.position == entries[1].position


async def test_events_that_the_store_has_forgotten_are_lost_and_reported() -> None:
    room = Room(History(size=1))
    await room.feed.begin()
    entries = await room.append(*map(str, range(200)))
    for number in (150, 151, 199):
        room.feed.take(entries[number])
    await until(lambda: len(room.got) >= 3)
    assert room.got[:2] == ["150", "151"]
    assert room.got[-1] == "199"
    assert room.lost == 150 + (199 - 152)


async def test_numbers_that_come_again_after_a_takeover_are_delivered() -> None:
    room = Room()
    await room.feed.begin()
    [first, second] = await room.append("a", "b")
    room.feed.take(first)
    room.feed.take(second)
    room.feed.position = Position(first.position.epoch, 5)  # the server that took over has not these
    room.feed.check()
    await until(lambda: room.feed.position == second.position)
    room.feed.take(*(await room.append("c")))
    assert room.got == ["a", "b", "c"]


async def test_events_of_another_store_are_delivered() -> None:
    room = Room()
    await room.feed.begin()
    epoch = new_epoch()
    for number in (1, 2):
        room.feed.take(Entry(Position(epoch, number), 0.0, str(number)))
    await until(lambda: room.got == ["1", "2"])
    room.feed.take(*(await room.append("own")))
    assert room.got == ["1", "2", "own"]


async def test_nothing_is_delivered_after_the_end() -> None:
    room = Room()
    await room.feed.begin()
    entries = await room.append("a", "b")
    room.feed.take(entries[1])
    room.feed.end()
    room.feed.take(entries[0])
    room.feed.check()
    await asyncio.sleep(0)
    assert room.got == []
