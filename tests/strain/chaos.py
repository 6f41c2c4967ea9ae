"""Break the broker, the way to it or a server while three servers and a script send; count every event at every member.

`make chaos` runs each fault on each layer, prints a table and exits with 1 if a run did not hold. A run holds if each
event whose emit returned reached every member that stayed connected, or its process reported the loss; if no event came
twice; and if the events of each sender came in order.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import django

from tests.support.crowd import PINGLESS, Crowd, Peer
from tests.support.proxy import Proxy, start_proxy
from tests.support.senders import by_sender, group, heard, start_sender
from tests.support.servers import Server, start_server
from tests.support.valkey import LAYERS, Valkey, start_valkey

PATH = "/bare/cluster/"
ROOM = "room"
MEMBERS = 2  # of the room, on each server
INTERVAL = 0.05  # seconds between two events of a sender
SETTLE = 30.0  # seconds within which a loss must be reported
CONFIG: dict[str, dict[str, Any]] = {"pubsub": {}, "redis": {"capacity": 20_000}}


@dataclass
class Node:
    """One server, its members, and a peer that makes it emit."""

    name: str
    server: Server
    members: list[Peer]
    sender: Peer
    sent: int = 0
    asked: int = 0

    @property
    def is_connected(self) -> bool:
        return not any(peer.is_ended for peer in (*self.members, self.sender))

    def emit(self) -> None:
        """Make a handler emit the next event."""
        if self.sender.is_ended:
            return
        self.sent += 1
        arguments = json.dumps(["emit", [ROOM, "burst", f"{self.name}:{self.sent}"], {}])
        with suppress(OSError):  # the server may be gone, or be stopped and take nothing
            self.sender.send(f"call||{self.sent}||{arguments}")

    @property
    def outcomes(self) -> dict[int, bool]:
        """Whether the emit of each number returned, as far as its handler has answered."""
        return {number: "result" in outcome for number, outcome in answers(self.sender, "call")}

    def lost(self) -> int | None:
        """Return how many events of the room the server has reported as lost; ``None`` until it has answered."""
        found = answers(self.members[0], "lost")
        return sum(frames for name, _, frames in found[-1][1] if name == group(ROOM)) if found else None


def answers(peer: Peer, event: str) -> list[tuple[int, Any]]:
    """Return the number and the value of each answer to an event that a peer received."""
    start = f"__ack_{event}||"
    parts = [text.removeprefix(start).split("||", 1) for text in peer.texts if text.startswith(start)]
    return [(int(number), json.loads(value)) for number, value in parts]


@dataclass
class Outcome:
    """The counts of a run; a delivery is one event at one member."""

    layer: str
    fault: str
    sent: int = 0
    confirmed: int = 0
    deliveries: int = 0
    missing: int = 0  # deliveries of confirmed events, which did not take place
    reported: int = 0  # at members of processes that reported at least as many losses
    silent: int = 0
    repeated: int = 0
    disordered: int = 0
    closed: list[str] = field(default_factory=list)  # the servers that lost their connections

    @property
    def holds(self) -> bool:
        return not (self.silent or self.repeated or self.disordered)


class Scene:
    """Three servers on one layer, of which B reaches the broker through a proxy, and a script that emits."""

    def __init__(self, layer: str, valkey: Valkey, proxy: Proxy, stack: ExitStack) -> None:
        self.layer = layer
        self.valkey = valkey
        self.proxy = proxy
        self.crowd = stack.enter_context(Crowd())
        kinds = {"A": ("uvicorn", 0), "B": ("uvicorn-etp", proxy.port), "C": ("daphne", 0)}
        self.nodes = {name: self._start(name, *way, stack) for name, way in kinds.items()}
        self.script = stack.enter_context(
            start_sender(self._settings(0), "tests.site.stream", ROOM, "S", "1", str(INTERVAL))
        )

    def run(self, seconds: float) -> None:
        """Let all senders send for so many seconds."""
        until = time.monotonic() + seconds
        next_at = 0.0

        def step() -> bool:
            nonlocal next_at
            if (now := time.monotonic()) >= next_at:
                next_at = now + INTERVAL
                for node in self.nodes.values():
                    node.emit()
            return now >= until

        self.crowd.wait_for(step, timeout=seconds + 60, interval=INTERVAL / 5)

    def finish(self, fault: str) -> Outcome:
        """Stop the senders, wait until each loss is reported, and count."""
        self.script.end_input()
        self.crowd.wait_for(lambda: self.script.has_ended)
        living = [node for node in self.nodes.values() if node.is_connected]
        self.crowd.wait_for(lambda: all(len(node.outcomes) == node.sent for node in living))
        confirmed = {name: {number for number, ok in node.outcomes.items() if ok} for name, node in self.nodes.items()}
        raised = {int(event.partition(":")[2]) for event in self.script.raised}
        confirmed["S0"] = set(range(self.script.printed[-1]["S0"])) - raised
        outcome = Outcome(
            self.layer, fault, sum(node.sent for node in self.nodes.values()) + len(confirmed["S0"] | raised)
        )
        outcome.confirmed = sum(map(len, confirmed.values()))
        outcome.closed = [name for name, node in self.nodes.items() if node not in living]
        with suppress(AssertionError):  # the counts below show what is missing
            self.crowd.wait_for(lambda: not self._silent(living, confirmed), timeout=SETTLE, interval=0.5)
        outcome.silent = self._silent(living, confirmed)
        for node in living:
            for member in node.members:
                got = by_sender(heard(member.received))
                gone = missing(got, confirmed)
                outcome.deliveries += sum(map(len, got.values()))
                outcome.missing += gone
                outcome.reported += min(gone, node.lost() or 0)
                outcome.repeated += sum(len(numbers) - len(set(numbers)) for numbers in got.values())
                outcome.disordered += sum(
                    second < first for numbers in got.values() for first, second in pairwise(numbers)
                )
        return outcome

    def _silent(self, living: Sequence[Node], confirmed: dict[str, set[int]]) -> int:
        silent = 0
        for node in living:
            node.asked += 1
            node.members[0].send(f"lost||{node.asked}")
            for member in node.members:
                silent += max(0, missing(by_sender(heard(member.received)), confirmed) - (node.lost() or 0))
        return silent

    def _settings(self, port: int) -> dict[str, Any]:
        return {"CHANNEL_LAYERS": self.valkey.layers(self.layer, port=port, **CONFIG[self.layer])}

    def _start(self, name: str, kind: str, port: int, stack: ExitStack) -> Node:
        server = stack.enter_context(start_server(kind, settings=self._settings(port), options=PINGLESS[kind]))
        *members, sender = self.crowd.connect(server, [f"{PATH}?{ROOM}"] * MEMBERS + [f"{PATH}?"])
        return Node(name, server, members, sender)


def missing(got: dict[str, list[int]], confirmed: dict[str, set[int]]) -> int:
    """Return how many confirmed events are not among those that a member received."""
    return sum(len(numbers.difference(got.get(name, ()))) for name, numbers in confirmed.items())


# Faults: each takes the scene and the number of seconds that it lasts, and goes on sending meanwhile.


def broker_killed(scene: Scene, seconds: float) -> None:
    scene.valkey.kill()
    scene.run(seconds)
    scene.valkey.start()


def broker_frozen(scene: Scene, seconds: float) -> None:
    scene.valkey.pause()
    scene.run(seconds)
    scene.valkey.resume()


def broker_out_of_memory(scene: Scene, seconds: float) -> None:
    scene.valkey.command("CONFIG", "SET", "maxmemory", "1")
    scene.run(seconds)
    scene.valkey.command("CONFIG", "SET", "maxmemory", "0")


def broker_without_rights(scene: Scene, seconds: float) -> None:
    scene.valkey.command("ACL", "SETUSER", "root", "on", ">secret", "~*", "&*", "+@all")
    scene.valkey.command("ACL", "SETUSER", "default", "resetchannels", "resetkeys", "-@all")
    scene.run(seconds)
    restore = ("ACL", "SETUSER", "default", "on", "nopass", "~*", "&*", "+@all")
    scene.valkey.command(*restore, login=("root", "secret"))


def broker_drops_connections(scene: Scene, seconds: float) -> None:
    for _ in range(5):
        for kind in ("normal", "pubsub"):
            scene.valkey.command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
        scene.run(seconds / 5)


def way_cut(scene: Scene, seconds: float) -> None:
    for _ in range(6):
        scene.proxy.cut()
        scene.run(seconds / 6)


def way_refused(scene: Scene, seconds: float) -> None:
    scene.proxy.is_refusing = True
    scene.proxy.cut()
    scene.run(seconds)
    scene.proxy.is_refusing = False


def way_held(scene: Scene, seconds: float) -> None:
    scene.proxy.hold()
    scene.run(seconds)
    scene.proxy.release()


def way_slow(scene: Scene, seconds: float) -> None:
    scene.proxy.delay = 0.3
    scene.run(seconds)
    scene.proxy.delay = 0.0


def server_frozen(scene: Scene, seconds: float) -> None:
    scene.nodes["B"].server.pause()
    scene.run(seconds)
    scene.nodes["B"].server.resume()


def server_killed(scene: Scene, seconds: float) -> None:
    scene.nodes["B"].server.kill()
    scene.run(seconds)


def server_ended(scene: Scene, seconds: float) -> None:
    scene.nodes["C"].server.process.terminate()
    scene.run(seconds)


FAULTS: dict[str, Callable[[Scene, float], None]] = {
    fault.__name__: fault
    for fault in (
        broker_killed,
        broker_frozen,
        broker_out_of_memory,
        broker_without_rights,
        broker_drops_connections,
        way_cut,
        way_refused,
        way_held,
        way_slow,
        server_frozen,
        server_killed,
        server_ended,
    )
}


@contextmanager
def start_scene(layer: str) -> Iterator[Scene]:
    with start_valkey() as valkey, start_proxy(valkey.port) as proxy, ExitStack() as stack:
        yield Scene(layer, valkey, proxy, stack)


def break_it(layer: str, fault: str, *, before: float, during: float, after: float) -> Outcome:
    """Run one fault on one layer; the times are in seconds."""
    with start_scene(layer) as scene:
        scene.run(before)
        FAULTS[fault](scene, during)
        scene.run(after)
        return scene.finish(fault)


COLUMNS = ("sent", "confirmed", "deliveries", "missing", "reported", "silent", "repeated", "disordered")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.strain.chaos", description=__doc__)
    parser.add_argument("--layer", choices=LAYERS, action="append", help="both by default")
    parser.add_argument("--fault", choices=FAULTS, action="append", help="all by default")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long a fault lasts, 30 by default")
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.site.settings")
    django.setup()
    print(f"{'layer':<8}{'fault':<26}" + "".join(f"{column:>11}" for column in COLUMNS) + "  holds")
    failed = 0
    for layer in options.layer or LAYERS:
        for fault in options.fault or FAULTS:
            outcome = break_it(layer, fault, before=4, during=options.seconds, after=10)
            failed += not outcome.holds
            cells = "".join(f"{getattr(outcome, column):>11,}" for column in COLUMNS)
            print(f"{layer:<8}{fault.replace('_', ' '):<26}{cells}  {'yes' if outcome.holds else 'NO'}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
