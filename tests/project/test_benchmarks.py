"""The benchmarks do what they say, in the smallest of sizes; how fast anything is, no test asks."""

import asyncio
import json
import re
import sys
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from types import SimpleNamespace

import pytest

from benchmarks.contenders import (
    BARE,
    CHANNELS,
    CHANNELS_JSON,
    ETP_ALONE,
    ETP_IN_STACK,
    ETP_TYPED,
    SOCKET_IO,
    Contender,
)
from benchmarks.harness.bursts import Burst, number_of
from benchmarks.harness.clients import connect, disconnect, message_of_server
from benchmarks.harness.comparisons import Comparison, Figure, compare
from benchmarks.harness.matches import Match, Side
from benchmarks.harness.sites import Site, Stage
from benchmarks.plans import DEFLATE, LINE, against_reference, full, short
from benchmarks.report import footing, heading, line
from benchmarks.workloads import deliveries, echoes
from benchmarks.workloads.broker_copies import Copies
from benchmarks.workloads.deliveries import Room
from benchmarks.workloads.durable_emits import DurableCalls, DurableLatency
from benchmarks.workloads.echoes import Echo, Latency
from benchmarks.workloads.handshakes import Handshakes, Memory
from benchmarks.workloads.histories import Emits, ReadsOfReturns, Recovery, Returns
from benchmarks.workloads.joins import Joins
from benchmarks.workloads.presence import CrowdChurn, CrowdJoins
from benchmarks.workloads.queries import JoinsAndLeaves, MembersQuery
from benchmarks.workloads.session_data import COOKIE, make_database
from benchmarks.workloads.sync_emits import Calls
from tests.support.servers import ROOT

PUBSUB = "RedisPubSubChannelLayer"
NO_PROCESS = SimpleNamespace(seconds=0.0)


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    database = tmp_path_factory.mktemp("benchmarks") / "db.sqlite3"
    make_database(database)
    with Stage(str(database)) as stage:
        yield stage


async def figure_of(stage: Stage, side: Side) -> Figure:
    """Return what the second round of a side's work gave, as in a match."""
    async with side.work.load(side.site(stage)) as burst:
        await burst()
        figure: Figure = await burst()
        return figure


@pytest.mark.parametrize("contender", [BARE, CHANNELS, CHANNELS_JSON, SOCKET_IO], ids=lambda contender: contender.name)
async def test_other_contenders_do_the_common_works(stage, contender):
    for work in (Echo(2, 3, seconds=0.02), Latency(questions=5), Room(3, 2)):
        figure = await figure_of(stage, Side("", work, contender))
        assert figure.value > 0
        assert figure.wrong == 0


async def test_a_reference_is_a_program_that_listens_on_its_argument(stage, tmp_path):
    program = tmp_path / "reference"
    serve = "uvicorn.run('benchmarks.contenders.bare:application', host=host, port=int(port), ws='websockets-sansio')"
    program.write_text(
        f"#!{sys.executable}\nimport os, sys, uvicorn\nassert os.environ['GOMAXPROCS'] == '1'\n"
        f"sys.path.insert(0, {str(ROOT)!r})\nhost, port = sys.argv[1].split(':')\n{serve}\n"
    )
    program.chmod(0o755)
    matches = {match.title: match for match in against_reference(str(program))}
    assert all(match.can_run and match.one.contender is ETP_IN_STACK for match in matches.values())
    reference = matches[Latency().title].other
    assert reference.name == "Go reference"
    figure = await figure_of(stage, replace(reference, work=Latency(questions=5)))
    assert figure.value > 0


async def test_django_etp_does_all_works_of_one_process(stage):
    for work in (
        Echo(2, 3, seconds=0.02),
        Echo(2, 1, seconds=0.02, event="echo_in_thread", idle=2),
        Echo(2, 1, seconds=0.02, event="echo_and_count", headers=COOKIE),
        Echo(1, 1, size=70_000, seconds=0.05, unit="MiB per s"),
        Latency(99, questions=20, storm=3),
        Room(3, 2),
        Room(3, 2, is_declared=True),
        Room(3, 2, size=2000, headers=DEFLATE),
        Joins(4, 2),
        Joins(4, 2, is_declared=False),
        Handshakes(3),
        Handshakes(3, origin=False),
        Memory(20),
        JoinsAndLeaves(3, joins=2),
    ):
        figure = await figure_of(stage, Side("", work, ETP_IN_STACK))
        assert figure.wrong == 0


@pytest.mark.parametrize("event", ["echo_by_hand", "echo_dataclass", "echo_struct"])
async def test_handlers_read_and_write_the_same_payload(stage, event):
    side = Side("", Echo(2, 3, seconds=0.02, event=event, data=LINE), ETP_TYPED)
    async with side.work.load(side.site(stage)) as burst:
        assert (await burst()).wrong == 0
    (server,) = side.site(stage).servers
    (peer,) = await connect(server.port, ETP_TYPED.dialect, 1)
    try:
        assert json.loads(await peer.ask(event, LINE)) == json.loads(LINE)
    finally:
        await disconnect([peer])


async def test_works_of_two_processes(stage):
    sides = [
        Side("", work, ETP_IN_STACK, layer=PUBSUB, processes=2)
        for work in (
            Room(4, 2),
            MembersQuery(4, 2),
            MembersQuery(2, 2, is_round_trip=True),
            CrowdJoins(members=4, joins=2),
            CrowdJoins(False, members=4, joins=2),
            CrowdChurn(members=4, rate=1000, seconds=0.1),
        )
    ]
    for side in sides:
        figure = await figure_of(stage, side)
        assert figure.value > 0
        assert figure.wrong == 0


@pytest.mark.parametrize(
    ("caller", "contender"),
    [
        ("emit_on_commit", ETP_ALONE),
        ("group_send_on_commit", CHANNELS),
        ("keyed_updates", ETP_ALONE),
        ("updates", ETP_ALONE),
    ],
)
async def test_calls_in_transactions(stage, caller, contender):
    figure = await figure_of(stage, Side("", Calls(1, 2, 0.01), contender, layer=PUBSUB, caller=caller))
    assert figure.value > 0
    assert figure.wrong == 0


async def test_broker_alone(stage):
    figure = await figure_of(stage, Side("", Copies(2, messages=100), BARE))
    assert figure.value > 0


class Sender:
    """A server that answers events, and sends these messages of a burst, in pieces of so many bytes.

    If it `packs` them, each refers to those before it, as under uvicorn's own class.
    """

    def __init__(self, numbers: list[int], piece: int, packs: bool) -> None:
        self.numbers = [0, 1, 2, 3]  # what the first burst has
        self.later_numbers = numbers
        self.piece = piece
        self.compressor = zlib.compressobj(wbits=-15) if packs else None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while (head := await reader.readexactly(6))[0] == 0x81:
                name, ack_id, _ = (await reader.readexactly(head[1] & 0x7F)).split(b"||", 2)
                if name == b"burst":
                    texts = list(Burst("room", 4).texts())
                    await self.send(writer, *(b"news||0||%b" % texts[number].encode() for number in self.numbers))
                    self.numbers = self.later_numbers
                await self.send(writer, b"__ack_%b||%b" % (name, ack_id))
        writer.close()

    async def send(self, writer: asyncio.StreamWriter, *payloads: bytes) -> None:
        data = b"".join(map(self.frame, payloads))
        for at in range(0, len(data), self.piece):
            writer.write(data[at : at + self.piece])
            await asyncio.sleep(0)

    def frame(self, payload: bytes) -> bytes:
        if self.compressor is None:
            return message_of_server(payload)
        packed = self.compressor.compress(payload) + self.compressor.flush(zlib.Z_SYNC_FLUSH)
        return b"\xc1" + message_of_server(packed[:-4])[1:]


@pytest.mark.parametrize("packs", [False, True])
@pytest.mark.parametrize("piece", [1, 13, 1000], ids="{} bytes at a time".format)
@pytest.mark.parametrize(
    ("numbers", "wrong"),
    [([0, 1, 2, 3], 0), ([0, 1, 3], 1), ([0, 1, 2], 1), ([], 4), ([1, 0, 2, 3], 1), ([0, 1, 1, 2, 3], 1)],
    ids=["all", "one lost", "the last lost", "all lost", "two in another order", "one twice"],
)
async def test_what_is_lost_or_disordered_in_a_room_is_counted(monkeypatch, numbers, wrong, piece, packs):
    monkeypatch.setattr(deliveries, "_QUIET", 0.05)
    sender = Sender(numbers, piece, packs)
    async with await asyncio.start_server(sender.serve, "127.0.0.1", 0) as server:
        site = Site(ETP_ALONE, [SimpleNamespace(port=server.sockets[0].getsockname()[1], process=NO_PROCESS)])
        async with Room(1, 4).load(site) as burst:
            assert (await burst()).wrong == 0
            assert (await burst()).wrong == wrong


class Answerer:
    """A server that answers the events of each read together, those of the third one as `spoil` makes them."""

    def __init__(self, spoil: Callable[[list[bytes]], list[bytes]]) -> None:
        self.spoil = spoil
        self.reads = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        while (data := await reader.read(65_536)) and data[0] == 0x81:
            size = 6 + (data[1] & 0x7F)
            numbers = [data[at : at + size].split(b"||", 2)[1] for at in range(6, len(data), size)]
            self.reads += 1
            if self.reads == 3:
                numbers = self.spoil(numbers)
            writer.write(b"".join(message_of_server(b"__ack_echo||%b||eeee" % number) for number in numbers))
            await asyncio.sleep(0.001)  # for the next questions to come together
        writer.close()


@pytest.mark.parametrize(
    ("spoil", "wrong"),
    [
        (lambda numbers: numbers, 0),
        (lambda numbers: numbers[::-1], 0),
        (lambda numbers: numbers[1:], 1),
        (lambda numbers: [*numbers, numbers[0]], 1),
        (lambda numbers: [*numbers[1:], b"999999999"], 2),
    ],
    ids=["all", "in another order", "one lost", "one twice", "one to another question"],
)
async def test_what_is_not_answered_once_is_counted(monkeypatch, spoil, wrong):
    monkeypatch.setattr(echoes, "_TIMEOUT", 0.05)
    answerer = Answerer(spoil)
    async with await asyncio.start_server(answerer.serve, "127.0.0.1", 0) as server:
        site = Site(ETP_ALONE, [SimpleNamespace(port=server.sockets[0].getsockname()[1], process=NO_PROCESS)])
        async with Echo(1, 4, seconds=0.05).load(site) as burst:
            figure = await burst()
    assert answerer.reads > 3
    assert figure.value > 0
    assert figure.wrong == wrong


@pytest.mark.parametrize(("caller", "contender"), [("emit", ETP_ALONE), ("group_send", CHANNELS), ("publish", BARE)])
async def test_calls_from_a_process_without_a_loop(stage, caller, contender):
    for work in (Calls(2, 4, 0.01), *([Calls(2, 4, 0.01, is_received=True)] if caller == "emit" else [])):
        figure = await figure_of(stage, Side("", work, contender, layer=PUBSUB, caller=caller))
        assert figure.value > 0
        assert figure.wrong == 0


@pytest.mark.parametrize("database", ["SQLite", "PostgreSQL"])
async def test_durable_events(stage, database):
    for work, caller in ((DurableCalls(2, 8, each=2), "durable"), (DurableLatency(events=3), "durable_latency")):
        side = Side("", work, ETP_ALONE, layer=PUBSUB, caller=caller, database=database)
        figure = await figure_of(stage, side)
        assert figure.value > 0
        assert figure.wrong == 0


async def test_rooms_with_history(stage):
    redis = {"contender": ETP_ALONE, "layer": PUBSUB, "history": "Redis"}
    for work in (Emits(at_once=2, emits=4), Emits(False, at_once=2, emits=4), Recovery(3, returns=2), Recovery(0, 2)):
        assert (await figure_of(stage, Side("", work, **redis))).value > 0
    for work in (Returns(clients=3, missed=2), ReadsOfReturns(clients=3, missed=2)):
        side = Side("", work, **redis, caller="returns")
        async with work.load(side.site(stage)) as burst:
            assert (await burst()).value > 0


@pytest.mark.parametrize("plan", [short, full])
def test_a_plan_names_what_is_compared(plan):
    for match in plan(["daphne", "uvicorn"]):
        assert match.title
        assert match.one.work.unit == match.other.work.unit
        assert (match.one.name, match.one.work) != (match.other.name, match.other.work)


def test_the_performance_page_quotes_the_benchmarks_page():
    lines = re.findall(r"^\| (.*) \|$", read("benchmarks.md"), re.MULTILINE)
    figures = {tuple(cell.strip("*") for cell in line.split(" | ")[:8]) for line in lines}
    rows = re.findall(
        r"^\| .* \| ([\d,]+) \| (.*): (.*) \| ([\d.]+) \| `(.*)` \|$", read("performance.md"), re.MULTILINE
    )
    assert len(rows) >= 10
    for figure, other, other_figure, ratio, only in rows:
        (match,) = (match for match in full(["uvicorn"]) if only in match.label)
        unit = match.one.work.unit
        quoted = (match.title, match.where, unit, match.one.name, figure, other, other_figure, ratio)
        assert quoted in figures, f"benchmarks.md has no such line: {quoted}"


def read(page: str) -> str:
    return (ROOT / "docs" / page).read_text()


async def test_sides_take_turns_and_the_order_flips():
    calls = []

    async def side(name, value):
        calls.append(name)
        return Figure(value)

    comparison = await compare(lambda: side("one", 3.0), lambda: side("other", 2.0), rounds=2)
    assert calls == ["one", "other", "one", "other", "other", "one"]
    assert (comparison.figure, comparison.other_figure, comparison.ratio) == (3.0, 2.0, 1.5)


def test_ratio_is_the_median_of_the_rounds_ratios():
    figures, other_figures = [Figure(10), Figure(40), Figure(90)], [Figure(10), Figure(20), Figure(30)]
    assert Comparison(figures, other_figures).ratio == 2


def test_line_says_what_was_lost():
    match = Match("room", "uvicorn", Side("one", Room(), ETP_ALONE), Side("other", Room(), CHANNELS))
    written = line(match, Comparison([Figure(12_345, 0, 0.5)], [Figure(50, 7, 0.25)]))
    assert written == "| room | uvicorn | deliveries per s | one | 12,345 | other | 50 LOST 7 | **246.90** | - | 50% |"
    assert heading().count("|") == 2 * written.count("|")


def test_footing_says_what_is_missing():
    side = Side("", Room(), ETP_ALONE)
    absent = Match("room", "", side, Side("", Room(), Contender("absent", "", needs="no_such_package")))
    assert "1 line is left out" in footing([absent, Match("room", "", side, side)])


@pytest.mark.parametrize("number", [0, 12_345_678])
def test_burst_is_read_back_from_any_frame(number):
    assert number_of(f'42["news","#{number:08}xxx"]'.encode()) == number
    assert number_of(b"__ack_burst||1") == -1


def test_burst_survives_the_wire():
    burst = Burst("room", 3, 12, 0.5)
    assert Burst.read(str(burst)) == burst
    assert list(burst.texts()) == ["#00000000xxx", "#00000001xxx", "#00000002xxx"]
