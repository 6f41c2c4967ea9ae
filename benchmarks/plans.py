"""Plans of a run: a short one of five minutes, and a full one of an hour."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from benchmarks.harness.comparisons import Work
from benchmarks.harness.matches import Match, Side
from benchmarks.harness.servers import PROGRAM, SERVERS
from benchmarks.workloads.broker_copies import Copies
from benchmarks.workloads.deliveries import Room
from benchmarks.workloads.durable_emits import DurableCalls, DurableLatency
from benchmarks.workloads.echoes import Echo, Latency
from benchmarks.workloads.handshakes import Handshakes, Memory
from benchmarks.workloads.histories import Emits, ReadsOfReturns, Recovery, Returns
from benchmarks.workloads.joins import Joins
from benchmarks.workloads.presence import CrowdChurn, CrowdJoins
from benchmarks.workloads.queries import JoinsAndLeaves, MembersQuery
from benchmarks.workloads.session_data import COOKIE
from benchmarks.workloads.sync_emits import Calls

from .contenders import (
    BARE,
    BARE_IN_STACK,
    CHANNELS,
    CHANNELS_JSON,
    ETP_ALONE,
    ETP_FROZEN,
    ETP_IN_STACK,
    ETP_TYPED,
    SOCKET_IO,
    Contender,
)

__all__ = ["DEFLATE", "LINE", "against_reference", "full", "short"]

# As browsers offer it.
DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
# A payload with a declared type.
LINE = '{"text": "Is there anything left of the apple pie?", "to": 7}'
_PUBSUB, _REDIS = "RedisPubSubChannelLayer", "RedisChannelLayer"
_STORES = ("Redis", "SQLite", "PostgreSQL")
_OTHERS = (CHANNELS, CHANNELS_JSON, SOCKET_IO)


def short(servers: Sequence[str]) -> Iterator[Match]:
    """Yield the matches of the short run."""
    for server in servers:
        versus = partial(_versus, server, rounds=5)
        yield from versus(Echo(), (BARE, *_OTHERS))
        yield from versus(Echo(in_flight=1), (BARE,))
        yield from versus(Latency(), (BARE,))
        yield from versus(Room(200), (BARE,))
        yield from versus(Room(200, 15), (CHANNELS,))
        yield from versus(Room(200), (SOCKET_IO,))
        yield from versus(Room(1000, 30), (BARE,))
        yield from versus(Handshakes(), (BARE,))
        yield from versus(Memory(200), (BARE, CHANNELS), is_fresh=True)
        yield from _declared(server, Room(1000, 30), rounds=5)
        yield from _typed(server, rounds=5)
    yield from _classes((Echo(), Echo(in_flight=1), Room(200)), Memory(200), Room(200, 30, size=4000), rounds=5)
    yield from _two_processes(_PUBSUB, Room(1000, 100), Room(1000, 15))
    yield from _calls(_PUBSUB, (1, 8), rounds=5)
    yield from _commits(_PUBSUB, rounds=5)
    yield from _durable(_PUBSUB, DurableCalls(4), DurableLatency(50), rounds=3)
    yield from _members_query(rounds=5)
    yield from _presence(rounds=5)
    yield from _histories((Emits(),), rounds=3)


def full(servers: Sequence[str]) -> Iterator[Match]:
    """Yield all matches."""
    for server in servers:
        yield from _versus(server, Echo(), (BARE, *_OTHERS), rounds=15)
        yield from _versus(server, Echo(in_flight=1), (BARE, *_OTHERS), rounds=15)
        yield from _versus(server, Latency(), (BARE, *_OTHERS), rounds=15)
        yield from _versus(server, Latency(99), (BARE, *_OTHERS), rounds=15)
        for members in (200, 1000):
            yield from _versus(server, Room(members), (BARE,), rounds=15)
        # More events than the contenders' queues hold, some of which drop the rest.
        yield from _versus(server, Room(200, 150), _OTHERS, rounds=5)
        yield from _versus(server, Room(1000, 30), _OTHERS, rounds=5)
        yield from _versus(server, Handshakes(), (BARE, *_OTHERS), rounds=9)
        yield from _limits_of_handshakes(server)
        yield from _versus(server, Memory(1000), (BARE, *_OTHERS), rounds=5, is_fresh=True)
        for percentile in (50, 99):
            yield from _versus(server, Latency(percentile, storm=200), (BARE,), rounds=5)
        yield from _declared(server, Room(1000, 100), rounds=9)
        yield from _typed(server, rounds=15)
        yield from _prices(server)
        yield from _growth(server)
    common = (Echo(), Echo(in_flight=1), Latency(), Room(200), Room(1000), Handshakes())
    yield from _classes((*common, Room(1000, 1)), Memory(1000), Room(200, size=4000), rounds=15)
    for server in sorted(SERVERS.keys() - {*servers, "django_etp.uvicorn"}):
        yield from _versus(server, Echo(), (BARE,))
        yield from _versus(server, Room(200), (BARE,))
    for layer in (_PUBSUB, _REDIS):
        yield from _two_processes(layer, Room(1000, 1000), Room(1000, 30))
        yield from _calls(layer, (1, 8), rounds=9)
        yield from _commits(layer, rounds=9)
        yield from _durable(
            layer, DurableCalls(4), DurableCalls(4, each=10), DurableLatency(50), DurableLatency(99), rounds=5
        )
        yield from _received(layer, rounds=5)
        yield from _growth_of_processes(layer)
    yield from _members_query(rounds=9)
    yield from _presence(rounds=9)
    yield from _histories((Emits(), Emits(at_once=1, emits=100)), rounds=7)
    one, *more = (Side(f"{count} processes receive it", Copies(count), BARE) for count in (1, 10, 50))
    for side in more:
        yield Match(side.work.title, "Valkey", side, one, rounds=5)


def against_reference(program: str) -> Iterator[Match]:
    """Yield the matches of django_etp on its class for uvicorn against the Go reference, whose server is a program."""
    reference = Contender("Go reference", program)
    works = (Echo(), Echo(in_flight=1), Latency(), Room(200), Room(1000), Handshakes(), Memory(1000))
    for number, work in enumerate(works):
        twin = number if isinstance(work, Memory) else 0
        one = Side("django_etp on django_etp's class", work, ETP_IN_STACK, "django_etp.uvicorn", twin=twin)
        yield Match(work.title, "Go", one, Side(reference.name, work, reference, PROGRAM, twin=twin), rounds=15)


def _versus(
    server: str, work: Work, others: Sequence[Contender], *, rounds: int = 7, is_fresh: bool = False
) -> Iterator[Match]:
    """Compare django_etp with others on one server, and outside the middleware with the bare application.

    ``is_fresh``: use new processes, in which nothing else was measured.
    """
    pairs = [(ETP_IN_STACK, other) for other in others]
    if BARE in others:
        pairs.insert(1, (ETP_ALONE, BARE))
    for number, pair in enumerate(pairs, start=100):
        sides = (Side(who.name, work, who, server, twin=number if is_fresh else 0) for who in pair)
        yield Match(work.title, server, *sides, rounds)


def _classes(works: Sequence[Work], memory: Memory, large: Room, rounds: int) -> Iterator[Match]:
    """Compare uvicorn with the WebSocket class of django_etp and with its own; ``large`` has large messages."""
    ours, own = "django_etp.uvicorn", "uvicorn"
    names = {ours: "django_etp's class", own: "uvicorn's class"}
    pairs = (
        (ETP_IN_STACK, ours, BARE, own),
        (ETP_IN_STACK, ours, ETP_IN_STACK, own),
        (BARE, ours, BARE, own),
    )
    small = replace(large, size=32)
    titled: list[tuple[str, Work]] = [(work.title, work) for work in (*works, memory)]
    for work, size in ((memory, ""), (small, f" of {small.size} characters"), (large, f" of {large.size} characters")):
        titled.append((f"{work.title}{size}, with compression", replace(work, headers=DEFLATE)))
    for group, (title, work) in enumerate(titled, start=30):
        for number, (one, server, other, other_server) in enumerate(pairs):
            # Memory is measured in processes in which nothing else was measured.
            twin = 10 * group + number if isinstance(work, Memory) else 0
            sides = (
                Side(f"{who.name} on {names[where]}", work, who, where, twin=twin)
                for who, where in ((one, server), (other, other_server))
            )
            yield Match(title, "uvicorn, two classes", *sides, rounds)
    handshakes = Handshakes()
    one = Side("django_etp on django_etp's class", handshakes, ETP_IN_STACK, ours)
    other = Side(f"{BARE_IN_STACK.name}, on uvicorn's class", handshakes, BARE_IN_STACK, own)
    yield Match(handshakes.title, "uvicorn, two classes", one, other, rounds)


def _two_processes(layer: str, work: Room, smaller: Room) -> Iterator[Match]:
    """Compare django_etp with others. Their bursts are smaller, because they take a minute where ours take a second."""
    for other in (CHANNELS, SOCKET_IO):
        sides = (
            Side(who.name, work, who, layer=layer, processes=2)
            for who, work in ((ETP_IN_STACK, work), (other, smaller))
        )
        title = f"burst of {work.messages:,} ({smaller.messages:,}) to a room of {work.members:,}, two processes"
        yield Match(title, f"uvicorn, {layer}", *sides, rounds=5)


def _calls(layer: str, threads: Sequence[int], rounds: int) -> Iterator[Match]:
    few, *more = (_call("rooms.emit()", number, ETP_ALONE, layer, "emit") for number in threads)
    for number, emit in zip(threads, (few, *more), strict=True):
        group_send = _call("async_to_sync(group_send)", number, CHANNELS, layer, "group_send")
        publish = _call("plain PUBLISH", number, BARE, layer, "publish")
        for other in (group_send, publish):
            yield Match(emit.work.title, layer, emit, other, rounds)
    for many in more:
        yield Match(f"{many.work.title}, against 1", layer, many, replace(few, twin=2), rounds)


def _commits(layer: str, rounds: int) -> Iterator[Match]:
    emit = _call("rooms.emit_on_commit()", 1, ETP_ALONE, layer, "emit_on_commit")
    group_send = _call("on_commit(group_send)", 1, CHANNELS, layer, "group_send_on_commit")
    yield Match("transactions with an event each", layer, emit, group_send, rounds)
    keyed, plain = (
        replace(_call(name, 1, ETP_ALONE, layer, caller), work=Calls(calls=5, unit="transactions per s"))
        for name, caller in (("500 events with a key", "keyed_updates"), ("one emit after the commit", "updates"))
    )
    yield Match("transactions of 500 updates", layer, keyed, plain, rounds)


def _received(layer: str, rounds: int) -> Iterator[Match]:
    """Compare the events that a process can receive from the layer one by one and in batches."""
    sides = (
        replace(
            _call(name, threads, ETP_ALONE, layer, "emit"),
            work=Calls(threads, is_received=True, unit="per s of the receiver's core"),
            twin=threads,
        )
        for name, threads in (("from 8 threads, so in batches", 8), ("from 1 thread, one by one", 1))
    )
    yield Match("events that a process takes from the layer", f"uvicorn, {layer}", *sides, rounds)


def _durable(layer: str, *works: DurableCalls | DurableLatency, rounds: int) -> Iterator[Match]:
    """Compare durable events in two databases."""
    for work in works:
        caller = "durable" if isinstance(work, DurableCalls) else "durable_latency"
        sides = (
            Side(database, work, ETP_ALONE, layer=layer, caller=caller, database=database)
            for database in ("PostgreSQL", "SQLite")
        )
        yield Match(work.title, layer, *sides, rounds)


def _call(name: str, threads: int, contender: Contender, layer: str, caller: str) -> Side:
    return Side(name, Calls(threads), contender, layer=layer, caller=caller)


def _presence(rounds: int) -> Iterator[Match]:
    """Compare a room with presence with one without it."""
    for kind in (CrowdJoins, CrowdChurn):
        sides = (
            Side(f"{name} presence", kind(has_presence), ETP_IN_STACK, layer=_PUBSUB, processes=2, twin=3)
            for name, has_presence in (("with", True), ("without", False))
        )
        yield Match(f"{kind().title}, two processes", f"uvicorn, {_PUBSUB}", *sides, rounds)


def _histories(emits: Sequence[Emits], rounds: int) -> Iterator[Match]:
    """Compare rooms with history, in each store, with those without."""
    alone = {"contender": ETP_ALONE}
    for name, store in (("memory", {}), *((name, {"history": name, "layer": _PUBSUB}) for name in _STORES)):
        where = f"uvicorn, history in {name}"
        for work in emits:
            sides = (
                Side(f"{which} history", replace(work, has_history=has_history), **alone, **store)
                for which, has_history in (("with", True), ("without", False))
            )
            yield Match(work.title, where, *sides, rounds)
        recovery, entry = (
            Side(side, work, **alone, **store, twin=twin)
            for twin, (side, work) in enumerate((("100 missed events", Recovery(100)), ("no position", Recovery(0))))
        )
        yield Match(recovery.work.title, where, recovery, entry, rounds)
    redis = {"contender": ETP_ALONE, "history": "Redis", "layer": _PUBSUB, "caller": "returns"}
    sides = (
        Side(name, Returns(has_history), **redis)
        for name, has_history in (("with 50 missed events each", True), ("without history", False))
    )
    yield Match(Returns().title, "uvicorn, history in Redis", *sides, rounds)
    sides = (Side(f"{count:,} clients", ReadsOfReturns(count), **redis) for count in (1000, 1))
    yield Match(ReadsOfReturns().title, "uvicorn, history in Redis", *sides, rounds)


def _members_query(rounds: int) -> Iterator[Match]:
    question, round_trip = MembersQuery(), MembersQuery(2, is_round_trip=True)
    sides = (
        Side(name, work, ETP_IN_STACK, layer=_PUBSUB, processes=2)
        for name, work in (("rooms.amembers()", question), ("one round trip to the broker", round_trip))
    )
    yield Match(f"{question.title}, two processes", f"uvicorn, {_PUBSUB}", *sides, rounds)


def _limits_of_handshakes(server: str) -> Iterator[Match]:
    """Measure the cost of the middleware, and a project whose garbage collector has less to do."""
    for pair in ((ETP_IN_STACK, BARE_IN_STACK), (BARE_IN_STACK, BARE), (ETP_FROZEN, BARE)):
        yield Match("handshakes", server, *(Side(who.name, Handshakes(), who, server) for who in pair))


def _prices(server: str) -> Iterator[Match]:
    few, with_data = Echo(10, 1), Echo(10, 1, event="echo_and_count", headers=COOKIE)
    for title, dear, cheap in (
        ("a plain def handler", Echo(event="echo_in_thread"), Echo()),
        ("session data that every event changes, in a SQLite database", with_data, few),
        ("the origin check", Handshakes(), Handshakes(origin=False)),
        ("a user's session and login, per handshake", Handshakes(headers=COOKIE), Handshakes()),
        ("a user's session and login, in memory", Memory(1000, headers=COOKIE), Memory(1000)),
    ):
        # Memory is measured in separate processes, in which nothing else was measured.
        sides = (
            Side(name, work, ETP_IN_STACK, server, twin=twin if isinstance(work, Memory) else 0)
            for twin, (name, work) in enumerate((("with", dear), ("without", cheap)), start=200)
        )
        yield Match(f"price of {title}", server, *sides)


def _declared(server: str, work: Room, rounds: int) -> Iterator[Match]:
    """Compare declared rooms with others."""
    for title, declared, plain in (
        (f"burst of {work.messages:,} to a room of {work.members:,}", replace(work, is_declared=True), work),
        ("a join and a leave by events, with rules as async functions", Joins(), Joins(is_declared=False)),
    ):
        sides = (Side(name, each, ETP_IN_STACK, server) for name, each in (("declared", declared), ("plain", plain)))
        yield Match(title, server, *sides, rounds)


def _typed(server: str, rounds: int) -> Iterator[Match]:
    """Compare handlers that declare types with one that checks by hand, and handlers without types beside both."""
    by_hand = Side("parsed and checked by hand", Echo(event="echo_by_hand", data=LINE), ETP_TYPED, server)
    for name, event in (("a dataclass, by pydantic", "echo_dataclass"), ("a Struct, by msgspec", "echo_struct")):
        typed = Side(name, Echo(event=event, data=LINE), ETP_TYPED, server)
        yield Match(f"{typed.work.title}, of a payload with fields", server, typed, by_hand, rounds)
    beside, alone = (
        Side(name, Echo(), who, server)
        for name, who in (("others declare types", ETP_TYPED), ("none declares types", ETP_IN_STACK))
    )
    yield Match(f"{beside.work.title}, without a type", server, beside, alone, rounds)


def _growth(server: str) -> Iterator[Match]:
    largest = 2**20 - 64  # with its frame, a message of at most 1 MiB
    yield from _grow(
        server, "joins and leaves beside so many rooms", {n: JoinsAndLeaves(n) for n in (10, 1000, 10_000)}
    )
    yield from _grow(server, "members of a room", {n: Room(n, 100_000 // n) for n in (10, 100, 1000, 5000)})
    yield from _grow(
        server, "open connections, 50 of which ask", {n: Echo(in_flight=1, idle=n - 50) for n in (100, 1000, 5000)}
    )
    yield from _grow(
        server,
        "bytes of each question",
        {n: Echo(10, 1, size=n, unit="MiB per s") for n in (16, 1024, 65_536, largest)},
    )


def _grow(server: str, title: str, works: Mapping[int, Work]) -> Iterator[Match]:
    """Compare larger works of one kind with the smallest."""
    smallest, *larger = (Side(f"{size:,}", work, ETP_IN_STACK, server) for size, work in works.items())
    for side in larger:
        yield Match(title, server, replace(side, twin=2), smallest, rounds=5)


def _growth_of_processes(layer: str) -> Iterator[Match]:
    one, *more = (
        Side(f"{count}", Room(1000, 200), ETP_IN_STACK, layer=layer, processes=count, twin=2) for count in (1, 2, 4)
    )
    for side in more:
        yield Match("processes of a room of 1,000", f"uvicorn, {layer}", side, one, rounds=5)
