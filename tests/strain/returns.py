"""Fifty clients that come and go while servers are killed, ways are cut, and the store is emptied; count every event.

`make chaos` runs this on each store, prints a table and exits with 1 if a run did not hold. A run holds if each client
has got exactly the events of its room, in order and none twice, from each answer with `recovered: false` on; and if
most clients that returned have recovered. All clients of all processes must have got the same order.
"""

import argparse
import asyncio
import itertools
import os
import random
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django_etp import EtpError
from django_etp.client import EtpClient
from django_etp.protocol import Event
from tests.site.settings import INSTALLED_APPS
from tests.support.postgres import start_postgres
from tests.support.proxy import Proxy, start_proxy
from tests.support.servers import Server, held_port, start_server
from tests.support.valkey import Valkey, start_valkey
from tests.support.visitors import run_django, sqlite

ROOM = "returns/a"
CLIENTS = 50
INTERVAL = 0.05  # seconds between two events of a sender
# How long an event may be under way before the store is emptied, in seconds: one that still is may come out of order.
UNDER_WAY = 1.0
SETTLE = 30.0  # seconds within which all clients must be up to date
END = "end"
# The kinds of stores, each with the channel layer that it is tested with, if it has one.
STORES = {"memory": "", "redis": "pubsub", "redis-layer": "redis", "sqlite": "pubsub", "postgres": "redis"}


@dataclass
class Visitor:
    """One client, and what it has got: a list of events from each answer with `recovered: false` on."""

    name: str
    client: EtpClient
    line: Proxy
    runs: list[list[str]] = field(default_factory=list)
    recovered: int = 0
    anew: int = 0  # returns with `recovered: false`
    put_out: int = 0  # returns that the server refused, since it could not read the history

    def __post_init__(self) -> None:
        room = self.client.room(ROOM)

        @room.on("said")
        async def said(event: Event) -> None:
            self.runs[-1].append(event.data)

        @room.on_state
        async def state(state: object, recovered: bool) -> None:
            if recovered:
                self.recovered += 1
                return
            self.anew += bool(self.runs)
            self.runs.append([])

        @room.on_left
        async def left(reason: Exception) -> None:
            self.put_out += 1
            with suppress(EtpError):  # it comes back with the next connection
                await self.join()

    async def join(self) -> None:
        while True:
            try:
                return await self.client.room(ROOM).join()
            except EtpError:
                await asyncio.sleep(0.2)

    def has(self, event: str) -> bool:
        return bool(self.runs) and event in self.runs[-1]


@dataclass
class Outcome:
    """The counts of a run."""

    store: str
    sent: int = 0
    confirmed: int = 0
    deliveries: int = 0
    returns: int = 0
    recovered: int = 0
    anew: int = 0
    put_out: int = 0
    killed: int = 0
    faults: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        return not self.faults and self.recovered > self.anew


def check(runs: dict[str, list[list[str]]], confirmed: set[str]) -> list[str]:
    """Return what is wrong with what clients have got, by their names."""
    faults = []
    following: dict[str, tuple[str, str]] = {}  # event -> the next one, and who has got it
    for name, of_client in runs.items():
        counts = Counter(itertools.chain(*of_client))
        faults += [f"{name} has got {event} twice" for event, count in counts.items() if count > 1]
        for run in of_client:
            for event, after in itertools.pairwise(run):
                known, witness = following.setdefault(event, (after, name))
                if known != after:
                    faults.append(f"after {event}, {witness} has got {known}, and {name} {after}")
            for sender, numbers in by_sender(run).items():
                if numbers != sorted(numbers):
                    faults.append(f"{name} has got the events of {sender} in another order: {numbers}")
                between = range(numbers[0], numbers[-1])
                missing = [number for number in between if f"{sender}:{number}" in confirmed.difference(run)]
                if missing:
                    faults.append(f"{name} lacks {missing} of {sender}")
    return faults


def by_sender(run: Sequence[str]) -> dict[str, list[int]]:
    numbers: dict[str, list[int]] = {}
    for event in run:
        sender, _, number = event.partition(":")
        numbers.setdefault(sender, []).append(int(number))
    return numbers


class Scene:
    """Servers on one store, clients that reach them through lines of their own, and senders."""

    def __init__(self, store: str, valkey: Valkey | None, proxy: Proxy | None, settings: list[dict[str, Any]]) -> None:
        self.store = store
        self.valkey = valkey
        self.proxy = proxy
        self.visitors: list[Visitor] = []
        self.may_send = asyncio.Event()
        self.may_send.set()
        self.outcome = Outcome(store)
        self.settings = settings
        self._ports = [0] * len(settings)
        self._servers: list[Server | None] = [None] * len(settings)
        self._confirmed: set[str] = set()
        self.random = random.Random(store)
        self._stack = ExitStack()

    @property
    def living(self) -> list[Server]:
        return [server for server in self._servers if server is not None and server.is_running]

    async def start_server(self, index: int) -> None:
        """Start a server, on its earlier port if it had one."""
        port = self._ports[index] or self._stack.enter_context(held_port())
        self._ports[index] = port
        start = start_server("uvicorn-etp", settings=self.settings[index], port=port)
        self._servers[index] = await asyncio.to_thread(self._stack.enter_context, start)

    def kill_server(self, index: int) -> None:
        """Kill a server; its clients go to another one."""
        if (server := self._servers[index]) is not None and server.is_running:
            server.kill()
            self.outcome.killed += 1
            for visitor in self.visitors:
                if server.port in visitor.line.targets:
                    visitor.line.targets = deque([self.any_port()])

    def any_port(self) -> int:
        return self.random.choice(self.living or [s for s in self._servers if s is not None]).port

    async def close(self) -> None:
        await asyncio.to_thread(self._stack.close)

    async def send(self, name: str, until: Callable[[], bool]) -> None:
        """Send numbered events by one server after the other, each after the answer to the last one."""
        number = 0
        while not until():
            with suppress(EtpError, OSError, TimeoutError):
                url = f"ws://127.0.0.1:{self.any_port()}/ws/"
                async with EtpClient(url, is_reconnecting=False, open_timeout=3, ping_interval=None) as client:
                    while not until():
                        await self.may_send.wait()
                        event, number = f"{name}:{number}", number + 1
                        self.outcome.sent += 1
                        await client.emit_with_ack("send", event, timeout=8)
                        self._confirmed.add(event)
                        await asyncio.sleep(INTERVAL)
            await asyncio.sleep(INTERVAL)

    async def come_and_go(self, visitor: Visitor, until: Callable[[], bool], away: Sequence[float]) -> None:
        """Cut the line of a client again and again, and leave it away for a while."""
        pick = self.random
        while not until():
            await asyncio.sleep(pick.uniform(0.2, 3))
            match pick.randrange(4):
                case 0:
                    visitor.line.hold()  # as a network that is gone, with the connection open
                    await asyncio.sleep(pick.uniform(0.05, 0.5))
                    visitor.line.release()
                case 1:
                    visitor.line.delay = pick.choice([0.0, 0.02, 0.2])
            visitor.line.is_refusing = True
            visitor.line.cut()
            await asyncio.sleep(pick.choice(away))
            visitor.line.targets = deque([self.any_port()])
            visitor.line.is_refusing = False
        visitor.line.delay = 0.0

    async def finish(self) -> Outcome:
        """Send until all clients have an event in common, which was sent when nothing was broken any more; count."""
        deadline = time.monotonic() + SETTLE
        for number in itertools.count():
            end = f"{END}:{number}"
            with suppress(EtpError, OSError, TimeoutError):
                async with EtpClient(f"ws://127.0.0.1:{self.any_port()}/ws/", is_reconnecting=False) as client:
                    await client.emit_with_ack("send", end)
                    self._confirmed.add(end)
            for _ in range(50):
                if is_done := all(visitor.has(end) for visitor in self.visitors):
                    break
                await asyncio.sleep(0.02)
            if is_done:
                break
            if time.monotonic() > deadline:
                late = [visitor.name for visitor in self.visitors if not visitor.has(end)]
                self.outcome.faults.append(f"these clients were not up to date after {SETTLE:g} s: {late}")
                break
        outcome = self.outcome
        outcome.confirmed = len(self._confirmed)
        for visitor in self.visitors:
            outcome.deliveries += sum(map(len, visitor.runs))
            outcome.recovered += visitor.recovered
            outcome.anew += visitor.anew
            outcome.put_out += visitor.put_out
        outcome.returns = outcome.recovered + outcome.anew
        outcome.faults += check({visitor.name: visitor.runs for visitor in self.visitors}, self._confirmed)
        return outcome


# What breaks, besides the lines of the clients. Each takes some seconds.


async def server_killed(scene: Scene) -> None:
    index = scene.random.randrange(len(scene.settings))
    scene.kill_server(index)
    await asyncio.sleep(1)
    await scene.start_server(index)


async def store_emptied(scene: Scene) -> None:
    scene.may_send.clear()
    await asyncio.sleep(UNDER_WAY)
    if scene.valkey is not None and scene.store.startswith("redis"):
        scene.valkey.command("FLUSHALL")
    elif scene.store != "memory":  # which is emptied if its server is killed
        await asyncio.to_thread(run_django, scene.settings[0], "shell", "-v0", "-c", EMPTY)
    scene.may_send.set()


EMPTY = """
from django.db import transaction
from django_etp.history.models import HistoryRoom

with transaction.atomic():
    rooms = list(HistoryRoom.objects.select_for_update())  # or events may be appended meanwhile
    HistoryRoom.objects.filter(pk__in=[room.pk for room in rooms]).delete()
"""


async def broker_killed(scene: Scene) -> None:
    if scene.valkey is not None:
        scene.valkey.kill()
        await asyncio.sleep(1)
        await asyncio.to_thread(scene.valkey.start)


async def way_cut(scene: Scene) -> None:
    if scene.proxy is not None:
        scene.proxy.cut()


async def way_slow(scene: Scene) -> None:
    if scene.proxy is not None:
        scene.proxy.delay = 0.3
        await asyncio.sleep(2)
        scene.proxy.delay = 0.0


FAULTS = (server_killed, way_cut, store_emptied, way_slow, broker_killed)


@asynccontextmanager
async def start_scene(store: str, folder: Path) -> AsyncIterator[Scene]:
    """Start the servers of a store: two, of which the second reaches the broker through a proxy, or one for memory."""
    layer = STORES[store]
    history: dict[str, Any] = {}
    base: dict[str, Any] = {}
    with ExitStack() as stack:
        valkey = proxy = None
        if layer:
            valkey = stack.enter_context(start_valkey())
            proxy = stack.enter_context(start_proxy(valkey.port))
        if store in ("sqlite", "postgres"):
            database = stack.enter_context(start_postgres()) if store == "postgres" else sqlite(folder / "db.sqlite3")
            base = {"INSTALLED_APPS": [*INSTALLED_APPS, "django_etp.history"], "DATABASES": {"default": database}}
            history = {"BACKEND": "django_etp.history.DatabaseHistory"}
            await asyncio.to_thread(run_django, base, "migrate", "-v0")
        settings = []
        for port in (valkey.port, proxy.port) if valkey and proxy else (0,):
            if store.startswith("redis"):
                url = f"redis://127.0.0.1:{port}/0"
                history = {"BACKEND": "django_etp.history.RedisHistory", "OPTIONS": {"url": url}}
            each = base | {"ETP": {"EVENT_MODULES": ["etp_events", "returns"], "HISTORY": dict(history)}}
            if valkey:
                config = {"capacity": 20_000} if layer == "redis" else {}
                each["CHANNEL_LAYERS"] = valkey.layers(layer, port=port, **config)
            settings.append(each)
        scene = Scene(store, valkey, proxy, settings)
        try:
            await asyncio.gather(*(scene.start_server(index) for index in range(len(settings))))
            yield scene
        finally:
            await scene.close()


async def come_and_go(
    store: str, folder: Path, faults: Sequence[Callable[[Scene], Any]], *, seconds: float, away: Sequence[float]
) -> Outcome:
    """Let fifty clients come and go for so many seconds, with these faults one after the other; return the counts."""
    async with start_scene(store, folder) as scene, AsyncExitStack() as stack:
        loop = asyncio.get_running_loop()
        end_at = loop.time() + seconds

        def is_over() -> bool:
            return loop.time() >= end_at

        async def arrive(number: int) -> None:
            line = Proxy(scene.any_port(), loop)
            server = await line.listen()
            stack.callback(server.close)
            client = EtpClient(
                f"ws://127.0.0.1:{line.port}/ws/",
                reconnect_delays=lambda: itertools.repeat(0.1),
                open_timeout=3,
                ping_interval=None,
                proxy=None,
            )
            visitor = Visitor(f"client {number}", client, line)
            await stack.enter_async_context(client)
            await visitor.join()
            scene.visitors.append(visitor)

        await asyncio.gather(*(arrive(number) for number in range(CLIENTS)))
        end_at = loop.time() + seconds
        async with asyncio.TaskGroup() as group:
            for name in "pqr":
                group.create_task(scene.send(name, is_over))
            for visitor in scene.visitors:
                group.create_task(scene.come_and_go(visitor, is_over, away))
            for number, fault in enumerate(faults):
                begin = (number + 0.3) * seconds / len(faults)
                group.create_task(later(begin, fault, scene))
        return await scene.finish()


async def later(seconds: float, fault: Callable[[Scene], Any], scene: Scene) -> None:
    await asyncio.sleep(seconds)
    await fault(scene)


COLUMNS = ("sent", "confirmed", "deliveries", "returns", "recovered", "anew", "put_out", "killed")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.strain.returns", description=__doc__)
    parser.add_argument("--store", choices=STORES, action="append", help="all by default")
    parser.add_argument("--seconds", type=float, default=90.0, help="on each store, 90 by default")
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.site.settings")
    print(f"{'store':<13}" + "".join(f"{column:>11}" for column in COLUMNS) + "  holds")
    failed = 0
    for store in options.store or STORES:
        faults = FAULTS * max(1, round(options.seconds / 6 / len(FAULTS)))
        with tempfile.TemporaryDirectory() as folder:
            running = come_and_go(store, Path(folder), faults, seconds=options.seconds, away=(0.0, 0.1, 0.5, 1.0, 6.0))
            outcome = asyncio.run(running)
        failed += not outcome.holds
        cells = "".join(f"{getattr(outcome, column):>11,}" for column in COLUMNS)
        print(f"{store:<13}{cells}  {'yes' if outcome.holds else 'NO'}", flush=True)
        for fault in outcome.faults[:20]:
            print(f"    {fault}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
