"""What all stores of histories have in common, on real servers."""

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from django_etp import History
from django_etp.history.store import SLACK, Entry, Position, Store, new_epoch, recover
from tests.support.histories import LIMITS, MakeStore, append, forget, new_events, new_room, texts
from tests.support.inprocess import until

WRITERS, EVENTS = 4, 60


# Positions


async def test_a_room_has_a_position_before_its_first_event(store: Store, make_store: MakeStore) -> None:
    room = new_room()
    position = await store.position(room)
    other = make_store()
    assert await other.position(room) == position
    await other.close()
    assert position.number == 0
    [first] = await append(store, room, "a")
    assert first == Position(position.epoch, 1)
    assert await store.position(room) == first


async def test_events_are_numbered_without_a_gap_in_each_room(store: Store) -> None:
    one, other = new_room(), new_room()
    appended = await store.append([*new_events(one, "ab"), *new_events(other, "c"), *new_events(one, "d")])
    assert [each.position.number for each in appended] == [1, 2, 1, 3]
    assert all(each.is_first for each in appended)
    assert [position.number for position in await append(store, other, "e", "f")] == [2, 3]


@pytest.mark.parametrize("years", [100, 31_709])
async def test_events_may_be_kept_for_longer_than_clocks_have_counted(store: Store, years: int) -> None:
    room, limits = new_room(), History(seconds=years * 365 * 86_400)
    first, _ = await append(store, room, "a", "b", limits=limits)
    assert texts((await store.read_after(room, first, limits)).missed) == ["b"]


async def test_many_rooms_are_looked_up_at_once(store: Store) -> None:
    rooms = [new_room() for _ in range(3)]
    await append(store, rooms[1], "a", "b")
    last = await store.position(rooms[2])
    assert await store.positions(rooms) == {
        rooms[1]: Position((await store.position(rooms[1])).epoch, 2),
        rooms[2]: last,
    }
    assert await store.positions([]) == {}


async def test_an_event_is_not_before_a_time_that_was_read_before(store: Store) -> None:
    room = new_room()
    for _ in range(20):
        start = await store.now()
        [position] = await append(store, room, "a")
        [entry] = await store.read_before(room, None, 1, LIMITS)
        assert entry.position == position
        assert entry.at >= start
        assert abs(await store.now() - time.time()) < 10


async def test_no_events_are_no_call(store: Store) -> None:
    assert await store.append([]) == []


# Recovery


async def test_a_reader_gets_what_it_missed(store: Store) -> None:
    room = new_room()
    start = await store.position(room)
    positions = await append(store, room, "a", "b", "c")
    for since, expected in zip([start, *positions], [["a", "b", "c"], ["b", "c"], ["c"], []], strict=True):
        position, missed = await store.read_after(room, since, LIMITS)
        assert position == positions[-1]
        assert texts(missed) == expected


@pytest.mark.parametrize("text", ["", "a\x00b||0||ü\U0001f600", "'\"\\\n{}", "x" * 100_000])
async def test_any_text_comes_back_with_its_position_and_time(store: Store, text: str) -> None:
    room = new_room()
    start = await store.position(room)
    exclude = frozenset({"one", "o'ther\x00"})
    [position] = await append(store, room, text, exclude=exclude)
    [entry] = (await store.read_after(room, start, LIMITS)).missed or []
    [again] = await store.read_before(room, None, 1, LIMITS)
    assert entry == again == Entry(position, entry.at, text, exclude)
    assert abs(entry.at - time.time()) < 30


async def test_a_position_of_another_epoch_is_not_recovered(store: Store) -> None:
    room = new_room()
    [position] = await append(store, room, "a")
    for since in (None, Position(new_epoch(), 1), Position(new_epoch(), 0), Position(position.epoch, 2)):
        assert await store.read_after(room, since, LIMITS) == (position, None)


async def test_a_store_that_was_emptied_begins_another_epoch(store: Store) -> None:
    room = new_room()
    before = await append(store, room, "a", "b")
    await forget(store, room)
    assert await store.positions([room]) == {}
    after = await append(store, room, "c")
    assert after[0].epoch != before[0].epoch
    assert after[0].number == 1
    assert await store.read_after(room, before[0], LIMITS) == (after[0], None)
    assert await store.read_before(room, before[1], 10, LIMITS) == []


async def test_a_history_keeps_its_size_and_at_most_200_more(store: Store) -> None:
    room, limits = new_room(), History(size=10)
    start = await store.position(room)
    appended = await store.append(new_events(room, map(str, range(10)), limits))
    assert texts((await store.read_after(room, start, limits)).missed) == [str(number) for number in range(10)]
    appended += await store.append(new_events(room, map(str, range(10, 240)), limits))
    assert (await store.read_after(room, start, limits)).missed is None
    assert (await store.read_after(room, appended[240 - 212].position, limits)).missed is None
    missed = (await store.read_after(room, appended[240 - 11].position, limits)).missed
    assert texts(missed) == [str(number) for number in range(230, 240)]


async def test_an_event_is_kept_for_its_time(store: Store) -> None:
    room, limits = new_room(), History(seconds=0.3)
    start = await store.position(room)
    [first] = await append(store, room, "a", limits=limits)
    appended_at = time.time()
    await until(lambda: time.time() > appended_at + 0.35)
    assert await store.read_after(room, start, limits) == (first, None)
    assert await store.read_before(room, None, 10, limits) == []
    # Who has seen it has missed nothing.
    assert await store.read_after(room, first, limits) == (first, [])
    [second] = await append(store, room, "b")
    assert second == Position(first.epoch, 2)
    assert await store.read_after(room, start, limits) == (second, None)
    assert texts((await store.read_after(room, first, LIMITS)).missed) == ["b"]


# Scrolling back


async def test_a_history_is_read_backwards_page_by_page(store: Store) -> None:
    room = new_room()
    assert await store.read_before(room, None, 10, LIMITS) == []
    await store.append(new_events(room, "abcdefg"))
    page = await store.read_before(room, None, 3, LIMITS)
    assert texts(page) == ["e", "f", "g"]
    await append(store, room, "h")  # what comes meanwhile does not move the pages
    page = await store.read_before(room, page[0].position, 3, LIMITS)
    assert texts(page) == ["b", "c", "d"]
    page = await store.read_before(room, page[0].position, 3, LIMITS)
    assert texts(page) == ["a"]
    assert await store.read_before(room, page[0].position, 3, LIMITS) == []


# Durable events


async def test_a_durable_event_is_appended_once(store: Store, make_store: MakeStore) -> None:
    room = new_room()
    [first] = await append(store, room, "a", emission="~1.5")
    await append(store, room, "b")
    other = make_store()
    [again, new, once_more] = await other.append(
        [
            *new_events(room, "a", emission="~1.5"),
            *new_events(room, "c", emission="~2.5"),
            *new_events(room, "c", emission="~2.5"),
        ]
    )
    await other.close()
    assert (again.position, again.is_first) == (first, False)
    assert (new.position.number, new.is_first) == (3, True)
    assert (once_more.position, once_more.is_first) == (new.position, False)
    assert texts(await store.read_before(room, None, 10, LIMITS)) == ["a", "b", "c"]
    # In another room it is another event.
    assert (await append(store, new_room(), "a", emission="~1.5"))[0].number == 1


# Many at once


def in_threads(work: Callable[[int], Coroutine[Any, Any, None]]) -> list[threading.Thread]:
    """Start a thread for each writer, with an event loop of its own."""
    threads = [threading.Thread(target=lambda number=number: asyncio.run(work(number))) for number in range(WRITERS)]
    for thread in threads:
        thread.start()
    return threads


async def test_a_reader_sees_every_event_of_many_writers_once_and_in_order(store: Store, make_store: MakeStore) -> None:
    room, limits = new_room(), History(size=2 * WRITERS * EVENTS, seconds=60)
    at = await store.position(room)

    async def write(writer: int) -> None:
        own = make_store()
        for number in range(0, EVENTS, 3):
            await append(own, room, f"{writer}.{number}", limits=limits)
            await own.append(new_events(room, [f"{writer}.{number + each}" for each in (1, 2)], limits))
            if number % 15 == 0:  # relayed twice, by two at once
                await append(own, room, f"both.{number}", limits=limits, emission=f"~{number}")
        await own.close()

    threads, seen = in_threads(write), list[Entry]()
    expected = WRITERS * EVENTS + EVENTS // 15
    async with asyncio.timeout(30):
        while len(seen) < expected:
            at, missed = await store.read_after(room, at, limits)
            assert missed is not None
            seen += missed
    for thread in threads:
        await asyncio.to_thread(thread.join)
    assert (await store.position(room)).number == expected
    assert [entry.position.number for entry in seen] == list(range(1, expected + 1))
    for writer in range(WRITERS):
        own = [entry.text for entry in seen if entry.text.startswith(f"{writer}.")]
        assert own == [f"{writer}.{number}" for number in range(EVENTS)]
    assert sorted(texts(seen) or []) == sorted(set(texts(seen) or []))


async def test_writers_to_many_rooms_do_not_block_one_another(store: Store, make_store: MakeStore) -> None:
    rooms = [new_room() for _ in range(6)]

    async def write(writer: int) -> None:
        own = make_store()
        for number in range(10):
            order = rooms[number % 3 :] + rooms[: number % 3] if writer % 2 else rooms[::-1]
            await own.append([event for room in order for event in new_events(room, [f"{writer}.{number}"])])
        await own.close()

    for thread in in_threads(write):
        await asyncio.to_thread(thread.join, 30)
    positions = await store.positions(rooms)
    assert [positions[room].number for room in rooms] == [WRITERS * 10] * len(rooms)


# Texts of positions


def test_a_position_is_a_text() -> None:
    position = Position(new_epoch(), 57)
    assert Position.parse(str(position)) == position
    assert not {*" @|"} & {*str(position)}


@pytest.mark.parametrize(
    "text",
    [
        None,
        5,
        "",
        "57",
        "abcdef01",
        "abcdef01.",
        "abcdef01.-1",
        "abcdef01.01",
        "ABCDEF01.1",
        "abcdef01.1\n",
        "abcdef01.٣",
    ],
)
def test_another_text_is_no_position(text: object) -> None:
    assert Position.parse(text) is None


def test_a_gap_in_the_store_is_no_recovery() -> None:
    epoch = new_epoch()
    entries = [Entry(Position(epoch, number), 100.0, "") for number in (2, 3, 5)]
    since, last = Position(epoch, 1), Position(epoch, 5)
    assert recover(last, since, entries, LIMITS, 100.0).missed is None
    assert recover(last, Position(epoch, 4), entries[2:], LIMITS, 100.0).missed == entries[2:]
    assert (
        recover(Position(epoch, 1000), Position(epoch, 1000 - LIMITS.size - SLACK - 1), [], LIMITS, 0.0).missed is None
    )
