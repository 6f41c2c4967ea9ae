"""Floods arrive whole and in order; what a layer drops is reported, to the frame; nothing else is."""

import json
import os
import re
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from tests.support.crowd import PINGLESS, Crowd, Peer, text_frame
from tests.support.senders import Sender, by_sender, group, heard, start_sender
from tests.support.servers import Server, start_server
from tests.support.valkey import LAYERS, Valkey, start_valkey

PATH = "/bare/cluster/"
# A capacity that a flood does not fill; and messages that wait for a slow machine are not thrown away after a minute.
ROOMY: dict[str, dict[str, Any]] = {"pubsub": {}, "redis": {"capacity": 20_000, "expiry": 600}}

EACH_LAYER = pytest.mark.parametrize("layer", LAYERS)
PATIENT = pytest.mark.timeout(600)


class Site:
    """Server processes on one layer, and a crowd of peers."""

    def __init__(self, valkey: Valkey, settings: dict[str, Any], stack: ExitStack) -> None:
        self.valkey = valkey
        self.crowd = stack.enter_context(Crowd())
        self._settings = settings
        self._stack = stack
        self._asked = 0

    def start_server(self, kind: str) -> Server:
        return self._stack.enter_context(start_server(kind, settings=self._settings, options=PINGLESS[kind]))

    def connect(self, server: Server, *names: str) -> list[Peer]:
        """Connect a member of each of these rooms, or lists of rooms with commas."""
        return self.crowd.connect(server, [f"{PATH}?{name}" for name in names])

    def start(self, *arguments: str) -> Sender:
        """Start `python -m` with these arguments, with the servers' settings."""
        return self._stack.enter_context(start_sender(self._settings, *arguments))

    def ask(self, peer: Peer, event: str, data: object = None, *, timeout: float = 60) -> Any:
        """Return what a handler answers to an event of this peer."""
        self._asked += 1
        answer = f"__ack_{event}||{self._asked}"
        peer.send(f"{event}||{self._asked}||{json.dumps(data)}")

        def answers() -> list[str]:
            return [text for text in peer.texts if text == answer or text.startswith(f"{answer}||")]

        self.crowd.wait_for(answers, timeout=timeout)
        data = answers()[0].removeprefix(answer).removeprefix("||")
        return json.loads(data) if data else None

    def lost(self, asker: Peer) -> Counter[str]:
        """Return how many frames each room of the asker's process was told to have lost."""
        frames: Counter[str] = Counter()
        for name, _, count in self.ask(asker, "lost"):
            frames[name] += count
        return frames


@contextmanager
def start_site(layer: str, **config: Any) -> Iterator[Site]:
    with start_valkey() as valkey, ExitStack() as stack:
        yield Site(valkey, {"CHANNEL_LAYERS": valkey.layers(layer, **config)}, stack)


# Floods


# Threads are the hardest on a layer. With FLOOD_MEMBERS=200 the others have as many members, and with
# FLOOD_EVENTS=10000 floods are longer; both take minutes.
FEWER = int(os.environ.get("FLOOD_MEMBERS", "40"))
EVENTS = int(os.environ.get("FLOOD_EVENTS", "1200"))


def flood_from_script(site: Site, starter: Peer) -> dict[str, int]:
    site.start("tests.site.send", "room", "s", str(EVENTS))
    return {"s": EVENTS}


def flood_from_handler(site: Site, starter: Peer) -> dict[str, int]:
    starter.send(f'burst||1||["room","s",{EVENTS}]')
    return {"s": EVENTS}


def flood_from_threads(site: Site, starter: Peer) -> dict[str, int]:
    site.start("tests.site.send", "room", "s", str(EVENTS // 4), "8")
    return {f"s{index}": EVENTS // 4 for index in range(8)}


@PATIENT
@pytest.mark.parametrize(
    ("flood", "count"),
    [
        (flood_from_script, FEWER),
        (flood_from_handler, FEWER),
        pytest.param(flood_from_threads, 200, marks=pytest.mark.strain),
    ],
)
@pytest.mark.parametrize(
    ("layer", "kinds"), [("pubsub", ["uvicorn", "daphne"]), ("redis", ["uvicorn", "uvicorn-etp"])], ids=LAYERS
)
def test_each_member_gets_all_in_each_senders_order(layer, kinds, flood, count):
    with start_site(layer, **ROOMY[layer]) as site:
        one, other = [site.start_server(kind) for kind in kinds]
        members = [peer for server in (one, other) for peer in site.connect(server, *["room"] * (count // 2))]
        askers = [*site.connect(one, "nobody"), *site.connect(other, "nobody")]
        sent = flood(site, askers[0])
        size = sum(len(text_frame(f"burst||0||{name}:{number}")) for name in sent for number in range(sent[name]))
        site.crowd.wait_for(lambda: all(len(member.received) >= size for member in members), timeout=500)
        for received in {bytes(member.received) for member in members}:
            assert by_sender(heard(received)) == {name: list(range(count)) for name, count in sent.items()}
        for asker in askers:
            assert site.lost(asker) == {}


# Losses


def all_accounted_for(site: Site, members: dict[str, Peer], asker: Peer, sent: int) -> bool:
    """Whether in each room what its member received and what was reported as lost is all that was sent, or more."""
    lost = site.lost(asker)
    return all(len(heard(member.received)) + lost[group(room)] >= sent for room, member in members.items())


@PATIENT
def test_what_a_paused_process_had_no_room_for_is_reported_to_the_frame():
    """The layer's queue is full from some message on: those lost are the last ones."""
    with start_site("redis") as site:
        server = site.start_server("uvicorn")
        names = [f"room{number}" for number in range(4)]
        members = dict(zip(names, site.connect(server, *names), strict=True))
        (asker,) = site.connect(server, "nobody")
        server.pause()
        scripts = [site.start("tests.site.send", name, "s", "150", "2") for name in names]
        site.crowd.wait_for(lambda: all(script.has_ended for script in scripts), timeout=200)
        server.resume()
        site.crowd.wait_for(lambda: all_accounted_for(site, members, asker, 300), timeout=100, interval=0.5)
        lost = site.lost(asker)
        assert lost
        for name, member in members.items():
            assert len(heard(member.received)) + lost[group(name)] == 300
            for numbers in by_sender(heard(member.received)).values():
                # redis-py loses the message on its way in the connection if the pause exceeds its socket timeout.
                assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        assert re.search(r"lost \d+ messages with \d+ events .* Likely causes: its capacity", server.log)


@PATIENT
def test_what_a_small_queue_had_no_room_for_is_reported_to_the_frame():
    """Losses anywhere in the streams."""
    with start_site("redis", capacity=3) as site:
        server = site.start_server("daphne")
        names = [f"room{number}" for number in range(3)]
        members = dict(zip(names, site.connect(server, *names), strict=True))
        (asker,) = site.connect(server, "nobody")
        for name in names:
            site.start("tests.site.send", name, "s", "200", "2")
        site.crowd.wait_for(lambda: all_accounted_for(site, members, asker, 400), timeout=200, interval=0.5)
        lost = site.lost(asker)
        assert lost
        for name, member in members.items():
            assert len(heard(member.received)) + lost[group(name)] == 400
            for numbers in by_sender(heard(member.received)).values():
                assert numbers == sorted(set(numbers))


@PATIENT
@EACH_LAYER
def test_what_a_dying_broker_took_along_is_reported_to_the_frame(layer):
    with start_site(layer, **ROOMY[layer]) as site:
        servers = [site.start_server(kind) for kind in ("daphne", "uvicorn")]
        members = [site.connect(server, "room")[0] for server in servers]
        askers = [site.connect(server, "nobody")[0] for server in servers]
        stream = site.start("tests.site.stream", "room", "s", "3", "0.005")
        site.crowd.wait_for(lambda: all(len(heard(member.received)) > 100 for member in members))
        site.valkey.kill()
        site.crowd.wait_for(lambda: len(stream.raised) > 5)
        site.valkey.start()
        before = [len(heard(member.received)) for member in members]
        site.crowd.wait_for(
            lambda: all(
                len(heard(member.received)) > count + 100 for member, count in zip(members, before, strict=True)
            )
        )
        stream.end_input()
        site.crowd.wait_for(lambda: stream.has_ended)
        sent = sum(stream.printed[-1].values())
        for member, asker in zip(members, askers, strict=True):
            room = {"room": member}
            site.crowd.wait_for(
                lambda room=room, asker=asker: all_accounted_for(site, room, asker, sent), timeout=100, interval=0.5
            )
            lost = site.lost(asker)
            assert set(lost) == {group("room")}
            assert len(heard(member.received)) + lost[group("room")] == sent
            for numbers in by_sender(heard(member.received)).values():
                assert numbers == sorted(set(numbers))
            # What was confirmed is not lost without a report: so much at least was neither confirmed nor received.
            assert lost[group("room")] >= len(set(stream.raised) - set(heard(member.received)))
        assert max(stream.raised.values()) < 8


# No false alarms


@EACH_LAYER
def test_a_broker_that_stutters_loses_nothing_and_alarms_nobody(layer):
    with start_site(layer, **ROOMY[layer]) as site:
        servers = [site.start_server(kind) for kind in ("daphne", "uvicorn")]
        members = [site.connect(server, "room")[0] for server in servers]
        askers = [site.connect(server, "nobody")[0] for server in servers]
        stream = site.start("tests.site.stream", "room", "s", "2", "0.005")
        for _ in range(2):
            before = len(heard(members[0].received))
            site.crowd.wait_for(lambda before=before: len(heard(members[0].received)) > before + 50)
            site.valkey.pause()
            site.crowd.read_for(1)
            site.valkey.resume()
        stream.end_input()
        site.crowd.wait_for(lambda: stream.has_ended)
        assert stream.raised == {}
        sent = stream.printed[-1]
        for member, asker in zip(members, askers, strict=True):
            site.crowd.wait_for(lambda member=member: len(heard(member.received)) >= sum(sent.values()))
            assert by_sender(heard(member.received)) == {name: list(range(count)) for name, count in sent.items()}
            assert site.lost(asker) == {}


@pytest.mark.parametrize("layer", ["pubsub"])  # the numbers of events are the same on both
def test_who_joins_late_or_again_misses_nothing_from_then_on_and_alarms_nobody(layer):
    with start_site(layer, **ROOMY[layer]) as site:
        server = site.start_server("uvicorn")
        (asker,) = site.connect(server, "nobody")
        stream = site.start("tests.site.stream", "room", "s", "1", "0.005")
        late: list[Peer] = []
        for _ in range(10):
            (newest,) = site.connect(server, "room")
            late.append(newest)
            site.crowd.wait_for(lambda newest=newest: bool(heard(newest.received)))
            # With its only member the process leaves the room, and joins it again.
            for peer in late:
                site.ask(peer, "leave", ["room"])
            site.crowd.read_for(0.1)
            site.ask(asker, "join", ["room"])
            site.ask(asker, "leave", ["room"])
        (last,) = site.connect(server, "room")
        site.crowd.wait_for(lambda: len(heard(last.received)) > 50)
        stream.end_input()
        site.crowd.wait_for(lambda: stream.has_ended)
        end = stream.printed[-1]["s0"]
        site.crowd.wait_for(lambda: heard(last.received)[-1] == f"s0:{end - 1}")
        for peer in (*late, last):
            (numbers,) = by_sender(heard(peer.received)).values()
            assert numbers == list(range(numbers[0], numbers[-1] + 1))
        site.crowd.read_for(2)  # the last number is told, and would be missed, within that time
        assert site.lost(asker) == {}


@pytest.mark.parametrize("layer", ["redis"])  # the numbers of events are the same on both
def test_senders_that_start_again_alarm_nobody(layer):
    with start_site(layer, **ROOMY[layer]) as site:
        server = site.start_server("daphne")
        (member,) = site.connect(server, "room")
        for _ in range(3):
            script = site.start("tests.site.send", "room", "s", "50")
            site.crowd.wait_for(lambda script=script: script.has_ended)
        killed = site.start("tests.site.stream", "room", "killed")
        site.crowd.wait_for(lambda: "killed0:50" in heard(member.received))
        killed.kill()
        site.start("tests.site.send", "room", "last", "50")
        site.crowd.wait_for(lambda: "last:49" in heard(member.received))
        numbers = by_sender(heard(member.received))
        assert numbers["s"] == [*range(50)] * 3
        assert numbers["last"] == [*range(50)]
        assert numbers["killed0"] == [*range(len(numbers["killed0"]))]
        site.crowd.read_for(2)
        assert site.lost(member) == {}


# Failed sends


@EACH_LAYER
def test_a_broker_that_hangs_is_told_to_every_sender_within_8_s(layer):
    with start_site(layer) as site:
        server = site.start_server("uvicorn")
        member, asker = site.connect(server, "room", "nobody")
        stream = site.start("tests.site.stream", "room", "s", "4")
        site.crowd.wait_for(lambda: len(by_sender(heard(member.received))) == 4)
        site.valkey.pause()
        began_at = time.monotonic()
        assert site.ask(asker, "call", ["emit", ["room", "local"], {}])["error"] == "LayerUnavailable"
        assert time.monotonic() - began_at < 8
        assert "local||0" in member.texts
        site.crowd.wait_for(lambda: len({name.partition(":")[0] for name in stream.raised}) == 4)
        site.valkey.resume()
        stream.end_input()
        site.crowd.wait_for(lambda: stream.has_ended)
        assert max(stream.raised.values()) < 8


# Members that do not read


@PATIENT
@pytest.mark.parametrize("kind", ["uvicorn", "uvicorn-etp"])
def test_a_member_that_stops_reading_is_closed_and_holds_up_nobody(kind):
    with start_site("pubsub") as site:
        server = site.start_server(kind)
        stuck, reader, other, asker = site.connect(server, "room", "room", "room", "nobody")
        site.crowd.stop_reading(stuck)
        assert site.ask(asker, "heavy", ["room", 30_000, 1500], timeout=200) == 1500
        for peer in (reader, other):
            site.crowd.wait_for(lambda peer=peer: peer.texts[-1].startswith("heavy||0||1499:"), interval=0.5)
            numbers = [int(text.split("||")[2].partition(":")[0]) for text in peer.texts]
            assert numbers == list(range(1500))
        site.crowd.wait_for(lambda: "is closed with 1013" in server.log, interval=0.5)
        site.crowd.wait_for(lambda: site.ask(asker, "call", ["count", ["room"], {}]) == {"result": 2}, interval=0.5)
        stuck.reset()  # the server has no pings here that would tell it, and would not end before this connection
