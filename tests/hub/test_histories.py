"""Rooms with history in several hubs, as if they were processes, with real stores."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from contextvars import Context, ContextVar
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio

from django_etp import History, HistoryUnavailable
from django_etp.cluster.gaps import Loss
from django_etp.cluster.messages import Frame
from django_etp.cluster.tracing import set_tracer
from django_etp.history.store import Position
from django_etp.hub import histories, queries
from django_etp.hub.hub import Hub
from django_etp.hub.names import group_name
from tests.support.histories import LIMITS, forget, sqlite_history
from tests.support.inprocess import until
from tests.support.layers import SharedLayer
from tests.support.valkey import Valkey, start_valkey


class Member:
    """A connection that keeps what it gets."""

    namespace = "default"
    is_accepted = True
    is_far_behind = False

    def __init__(self, hub: Hub) -> None:
        self.id = hub.new_connection_id()
        self.got: list[str] = []

    def deliver(self, text: str) -> None:
        self.got.append(text)


class Process:
    """One hub, with a member of the room."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.member: Any = Member(hub)
        hub.add(self.member)

    async def emit(self, room: str, text: str) -> None:
        await self.hub.sent(self.hub.send("default", [room], text, frozenset()))


@pytest.fixture(scope="module")
def valkey() -> Iterator[Valkey]:
    with start_valkey() as valkey:
        yield valkey


@pytest.fixture(scope="module")
def sqlite(tmp_path_factory: pytest.TempPathFactory, django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    with django_db_blocker.unblock(), sqlite_history(tmp_path_factory.mktemp("histories"), "hub-sqlite"):
        yield


@pytest.fixture(params=["memory", "redis", "sqlite"])
def backend(request: pytest.FixtureRequest, settings: Any, django_db_blocker: Any) -> Iterator[str]:
    kinds: dict[str, dict[str, Any]] = {"memory": {}}
    if request.param == "redis":
        valkey = request.getfixturevalue("valkey")
        options: dict[str, Any] = {"url": f"redis://127.0.0.1:{valkey.port}"}
        kinds["redis"] = {"BACKEND": "django_etp.history.RedisHistory", "OPTIONS": options}
    elif request.param == "sqlite":
        request.getfixturevalue("sqlite")
        kinds["sqlite"] = {"BACKEND": "django_etp.history.DatabaseHistory", "OPTIONS": {"using": "hub-sqlite"}}
    settings.ETP = {"HISTORY": kinds[request.param]}
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "tests.support.layers.SharedLayer"}}
    with django_db_blocker.unblock():
        yield request.param


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> str:
    """A room with history; others have none."""
    name = f"orders/{uuid4().hex}"
    monkeypatch.setattr(histories, "limits_of", lambda namespace, room: LIMITS if room == name else None)
    return name


@asynccontextmanager
async def processes(count: int) -> AsyncIterator[list[Process]]:
    loop = asyncio.get_running_loop()
    hubs = [Hub(loop, queries.answer, is_serving=True) for _ in range(count)]
    for hub in hubs:
        await hub.start()
    made = [Process(hub) for hub in hubs]
    for each in made:
        await each.hub.enter(each.member)
    yield made
    for each in made:
        await each.hub.remove(each.member)
        await each.hub.leave_others()


@pytest_asyncio.fixture
async def two(backend: str, room: str) -> AsyncIterator[list[Process]]:
    """Two processes with a member each."""
    async with processes(2) as two:
        for each in two:
            await each.hub.join(each.member, [room])
        yield two


async def test_all_members_see_one_order(two: list[Process], room: str) -> None:
    async def emit(process: Process, name: str) -> None:
        for number in range(40):
            await process.emit(room, f"{name}.{number}")

    await asyncio.gather(*(emit(process, f"{name}") for name, process in zip("abcd", two * 2, strict=True)))
    await until(lambda: all(len(process.member.got) >= 160 for process in two))
    first, second = (process.member.got for process in two)
    assert first == second
    assert len(set(first)) == 160
    for name in "abcd":
        assert [text for text in first if text[0] == name] == [f"{name}.{number}" for number in range(40)]


async def test_the_sender_has_the_event_when_its_emit_returns(two: list[Process], room: str) -> None:
    for number in range(5):
        await two[0].emit(room, str(number))
        assert two[0].member.got[-1] == str(number)


async def test_a_process_without_members_can_emit(backend: str, room: str) -> None:
    async with processes(2) as (one, other):
        await one.hub.join(one.member, [room])
        await other.emit(room, "a")
        await until(lambda: one.member.got == ["a"])
        await one.hub.leave(one.member, [room])
        await other.emit(room, "b")
        await one.hub.join(one.member, [room])
        await other.emit(room, "c")
        await until(lambda: one.member.got == ["a", "c"])


async def test_a_member_that_leaves_while_its_join_is_under_way_leaves_nothing_behind(backend: str, room: str) -> None:
    async with processes(1) as (one,):
        joining = asyncio.ensure_future(one.hub.join(one.member, [room]))
        await asyncio.sleep(0)  # the join waits for the channel layer
        await one.hub.leave(one.member, [room])
        await joining
        assert group_name("default", room) not in one.hub.histories._rooms


async def test_members_that_come_and_go_at_once_miss_nothing(two: list[Process], room: str) -> None:
    one, other = two
    for number in range(15):
        leaving = asyncio.ensure_future(one.hub.leave(one.member, [room]))
        await asyncio.sleep(0)
        await one.hub.join(one.member, [room])
        await leaving
        await other.emit(room, str(number))
        await until(lambda number=number: one.member.got == [str(each) for each in range(number + 1)])


async def test_an_event_that_nothing_brought_is_found_in_the_store(
    two: list[Process], room: str, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = two
    monkeypatch.setattr(SharedLayer, "is_away", True)
    if backend == "redis":
        one.hub.histories._following._rooms.clear()  # type: ignore[union-attr]
    await other.emit(room, "a")
    await other.emit(room, "b")
    assert one.member.got == []
    assert one.hub.histories.check(group_name("default", room)) == (backend != "memory")
    await until(lambda: one.member.got == ["a", "b"])


class Traces:
    """A tracer of sends within a span. It keeps the deliveries in other processes, each with its members."""

    span: ContextVar[str] = ContextVar("span", default="")

    def __init__(self) -> None:
        self.sends: list[str] = []
        self.deliveries: list[tuple[str, str, list[Any]]] = []

    def send(self, frame: Frame) -> str:
        self.sends += [span] if (span := Traces.span.get()) else []
        return span

    def deliver(self, trace: str, frame: Frame, deliver: Callable[[], Sequence[Any]]) -> None:
        self.deliveries.append((trace, frame.text, list(deliver())))

    def carry(self, context: Context) -> None: ...


@pytest.fixture
def traces() -> Iterator[Traces]:
    traces = Traces()
    set_tracer(traces)
    yield traces
    set_tracer(None)


async def test_a_delivery_in_another_process_is_part_of_the_trace_of_its_send(
    two: list[Process], room: str, traces: Traces
) -> None:
    one, other = two
    await other.hub.leave(other.member, [room])  # with Redis, a member of the sender may get it in either way
    Traces.span.set("a view")
    await other.emit(room, "a")
    Traces.span.set("")
    await other.emit(room, "b")
    await until(lambda: one.member.got == ["a", "b"])
    assert traces.sends == ["a view"]
    assert traces.deliveries == [("a view", "a", [one.member])]


async def test_a_delivery_that_waits_for_an_earlier_one_has_its_trace_and_its_members(
    two: list[Process], room: str, backend: str, traces: Traces
) -> None:
    one = two[0]
    epoch, number = await one.hub.histories.store.position(group_name("default", room))
    for at in (number + 2, number + 1):
        emission = f"{histories.POSITIONED}{Position(epoch, at)} span {at}"
        one.hub.deliver_frame(group_name("default", room), Frame(f"event {at}", emission=emission))
    assert traces.deliveries == [(f"span {at}", f"event {at}", [one.member]) for at in (number + 1, number + 2)]


async def test_positions_are_compared_at_intervals(room: str, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "tests.support.layers.SharedLayer"}}
    monkeypatch.setattr(histories, "_COMPARE_EVERY", 0.02)
    monkeypatch.setattr(SharedLayer, "is_away", True)
    async with processes(2) as (one, other):
        await one.hub.join(one.member, [room])
        await other.emit(room, "a")
        await until(lambda: one.member.got == ["a"])


async def test_a_loss_in_a_room_with_history_is_repaired_and_another_is_reported(
    two: list[Process], room: str, backend: str
) -> None:
    one = two[0]
    reported: list[Exception] = []

    async def report(namespace: str, error: Exception) -> None:
        reported.append(error)

    one.hub.report = report
    await one.hub.join(one.member, ["lobby"])
    for name in (room, "lobby"):
        one.hub.report_loss(Loss(group_name("default", name), 1, 1))
    await until(lambda: "lobby" in str(reported))
    # A history in memory lacks what other processes sent.
    assert (room in str(reported)) == (backend == "memory")


async def test_events_that_the_store_has_lost_are_reported(
    room: str, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "tests.support.layers.SharedLayer"}}
    monkeypatch.setattr(histories, "limits_of", lambda namespace, room: History(size=1))
    reported: list[Exception] = []

    async def report(namespace: str, error: Exception) -> None:
        reported.append(error)

    async with processes(2) as (one, other):
        one.hub.report = report
        await one.hub.join(one.member, [room])
        with monkeypatch.context() as patch:
            patch.setattr(SharedLayer, "is_away", True)
            for number in range(150):
                await other.emit(room, str(number))
        await other.emit(room, "last")
        await until(lambda: one.member.got == ["last"])
        await until(lambda: reported)
    assert f"missed 150 events of room '{room}'" in str(reported[0])


async def test_a_store_that_was_emptied_begins_again_for_all(two: list[Process], room: str, backend: str) -> None:
    one, other = two
    await one.emit(room, "a")
    await forget(one.hub.histories.store, group_name("default", room))
    await other.emit(room, "b")
    await until(lambda: all(process.member.got == ["a", "b"] for process in two))


async def test_nothing_is_sent_if_the_store_cannot_be_reached(two: list[Process], room: str, backend: str) -> None:
    one, other = two

    async def fail(events: Any) -> None:
        raise HistoryUnavailable("It is down.")

    one.hub.histories.store.append = fail  # type: ignore[method-assign]
    with pytest.raises(HistoryUnavailable):
        await one.emit(room, "a")
    await other.emit(room, "b")
    await until(lambda: all(process.member.got == ["b"] for process in two))


async def test_who_returns_gets_what_it_missed(two: list[Process], room: str) -> None:
    one, other = two
    await one.emit(room, "a")
    start = str((await one.hub.histories.recover("default", room, None)).position)
    for text in "bc":
        await one.emit(room, text)
    await until(lambda: len(other.member.got) == 3)
    position, missed = await other.hub.histories.recover("default", room, start)
    assert [entry.text for entry in missed or ()] == ["b", "c"]
    assert (await other.hub.histories.recover("default", room, str(position))).missed == []
    assert (await other.hub.histories.recover("default", room, str(Position("0" * 8, 1)))).missed is None
    with pytest.raises(HistoryUnavailable, match="has left"):
        await other.hub.histories.recover("default", "lobby", None)


async def test_a_relayed_event_is_in_the_history_once(two: list[Process], room: str) -> None:
    from django_etp.cluster.messages import Frame

    one, other = two
    for process in (one, other, one):
        await process.hub.sent(process.hub.relay("default", [room], Frame("a", emission="~1.5")))
    await one.hub.sent(one.hub.relay("default", [room, "lobby"], Frame("b", rooms=(room, "lobby"), emission="~2.5")))
    await until(lambda: all(process.member.got == ["a", "b"] for process in two))


async def test_rooms_without_history_open_no_store(two: list[Process], room: str) -> None:
    async with processes(1) as (process,):
        await process.hub.join(process.member, ["lobby"])
        await process.emit("lobby", "a")
        assert process.member.got == ["a"]
        assert process.hub.histories._store is None
