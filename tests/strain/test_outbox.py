"""Durable events arrive once and in order, whatever process is killed: real databases, brokers, servers and relays."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.crowd import PINGLESS, Crowd, Peer
from tests.support.outbox import APPS
from tests.support.postgres import start_postgres
from tests.support.senders import Sender, by_sender, heard, start_sender
from tests.support.servers import Server, start_process, start_server
from tests.support.valkey import Valkey, start_valkey
from tests.support.visitors import run_django, sqlite

pytestmark = pytest.mark.timeout(300)

ROOMS = ["r0", "r1", "r2"]
PATH = f"/bare/cluster/?{','.join(ROOMS)}"
# With DURABLE_EVENTS=100000 it takes minutes.
EVENTS = int(os.environ.get("DURABLE_EVENTS", "10000"))
SENDERS = 4
# Events in each transaction.
EACH = 20


class Site:
    """Processes of one site, with a database and a broker."""

    def __init__(self, settings: dict[str, Any], valkey: Valkey, stack: ExitStack) -> None:
        self.valkey = valkey
        self.crowd = stack.enter_context(Crowd())
        self.settings = settings
        self._stack = stack

    def start_server(self, **settings: Any) -> Server:
        server = start_server("uvicorn", settings=self.settings | settings, options=PINGLESS["uvicorn"])
        return self._stack.enter_context(server)

    def start_relay(self) -> Server:
        env = {"DJANGO_SETTINGS_MODULE": "tests.site.settings"}
        command = ["django", "etp_relay"]
        relay = start_process("etp_relay", command, settings=self.settings, env=env, ready="Relaying durable events")
        return self._stack.enter_context(relay)

    def connect(self, server: Server) -> Peer:
        return self.crowd.connect(server, [PATH])[0]

    def store(self, name: str, count: int, pause: float = 0.0) -> Sender:
        arguments = (",".join(ROOMS), name, str(count), str(EACH), str(pause))
        return self._stack.enter_context(start_sender(self.settings, "tests.site.durable", *arguments))


@contextmanager
def start_site(kind: str, folder: Path) -> Iterator[Site]:
    with ExitStack() as stack:
        valkey = stack.enter_context(start_valkey())
        database = stack.enter_context(start_postgres()) if kind == "postgres" else sqlite(folder / "db.sqlite3")
        settings = {
            "INSTALLED_APPS": APPS,
            "DATABASES": {"default": database},
            "CHANNEL_LAYERS": valkey.layers("pubsub"),
        }
        run_django(settings, "migrate", "-v0")
        if kind == "sqlite":
            with sqlite3.connect(folder / "db.sqlite3") as connection:
                connection.execute("PRAGMA journal_mode=WAL")
            connection.close()
        yield Site(settings, valkey, stack)


def committed(sender: Sender) -> int:
    """How many events a process has stored for certain."""
    return (sender.printed or [-1])[-1] + 1


def in_order(numbers: list[int]) -> bool:
    """Whether the numbers of each room, to which events went in turn, came in order."""
    by_room = [[number for number in numbers if number % len(ROOMS) == room] for room in range(len(ROOMS))]
    return all(of_room == sorted(of_room) for of_room in by_room)


@pytest.mark.strain
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_each_event_arrives_once_and_in_order_whatever_is_killed(kind: str, tmp_path: Path) -> None:
    count = EVENTS // SENDERS
    with start_site(kind, tmp_path) as site:
        relay = site.start_relay()
        members = [site.connect(site.start_server()) for _ in range(2)]
        doomed = site.store("doomed", count)
        others = [site.store(f"s{number}", count) for number in range(1, SENDERS)]
        first = others[0]
        # In the order of how far they are: a relay that sends, a process that commits, the broker, a relay again.
        site.crowd.wait_for(lambda: committed(first) > count // 5)
        relay.kill()
        site.start_relay()
        site.crowd.wait_for(lambda: committed(doomed) > count // 3)
        doomed.kill()
        site.crowd.wait_for(lambda: committed(first) > count // 2)
        site.valkey.kill()
        site.valkey.start()
        site.crowd.wait_for(lambda: all(sender.has_ended for sender in [doomed, *others]), timeout=100)
        rest = site.store("rest", count - count // 3)
        site.crowd.wait_for(lambda: rest.has_ended, timeout=100)
        expected = {f"s{number}": count for number in range(1, SENDERS)} | {"rest": count - count // 3}
        expected |= {"doomed": committed(doomed)}  # at least
        site.crowd.wait_for(lambda: run_django(site.settings, "etp_outbox").startswith("default: 0 "), timeout=60)
        for member in members:
            site.crowd.wait_for(lambda member=member: len(heard(member.received)) >= sum(expected.values()))
            numbers = by_sender(heard(member.received))
            died_at = len(numbers["doomed"])
            assert died_at >= committed(doomed)
            for name, total in {**expected, "doomed": died_at}.items():
                assert sorted(numbers[name]) == list(range(total)), name
                assert in_order(numbers[name]), name


def test_what_a_process_committed_before_it_was_killed_is_sent_by_a_relay_that_starts_later(tmp_path: Path) -> None:
    with start_site("sqlite", tmp_path) as site:
        server = site.start_server(INSTALLED_APPS=[app for app in APPS if app != "django_etp.outbox"])
        member = site.connect(server)
        killed = site.store("killed", EACH, pause=100)
        site.crowd.wait_for(lambda: committed(killed) == EACH)
        killed.kill()
        relay = site.start_relay()
        site.crowd.wait_for(lambda: len(heard(member.received)) == EACH)
        relay.stop()
        assert relay.complaints == []
        assert run_django(site.settings, "etp_outbox").startswith("default: 0 events wait")


def test_a_server_with_a_relay_ends_in_order_and_another_goes_on(tmp_path: Path) -> None:
    with start_site("sqlite", tmp_path) as site:
        one = site.start_server()
        site.connect(one)
        member = site.connect(site.start_server())
        sender = site.store("s", 20 * EACH, pause=0.05)
        site.crowd.wait_for(lambda: heard(member.received))
        one.stop()
        assert one.complaints == []
        site.crowd.wait_for(lambda: sender.has_ended)
        site.crowd.wait_for(lambda: len(heard(member.received)) >= 20 * EACH)
        assert sorted(by_sender(heard(member.received))["s"]) == list(range(20 * EACH))
