"""The relay of one database, on its thread, with real databases. For its end and its processes see tests/strain."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections

from django_etp.hub.hub import Hub
from django_etp.hub.process import serving_hub
from django_etp.outbox import commits, relay, servers
from django_etp.outbox.relay import Relay
from tests.outbox.test_sending import Link
from tests.support.inprocess import until
from tests.support.outbox import keep, stored
from tests.support.peers import eventually
from tests.support.postgres import start_postgres
from tests.support.rooms import clients, got

pytestmark = [
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.usefixtures("databases", "etp_registry", "kept"),
]


@pytest.fixture(scope="module")
def databases(
    tmp_path_factory: pytest.TempPathFactory, django_db_setup: None, django_db_blocker: Any
) -> Iterator[None]:
    """The databases "sqlite" and "postgres", with their tables."""
    path = tmp_path_factory.mktemp("relay") / "db.sqlite3"
    with start_postgres() as postgres:
        sqlite = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(path)}
        added = connections.configure_settings({"default": {}, "sqlite": sqlite, "postgres": postgres})
        for alias in ("sqlite", "postgres"):
            connections.settings[alias] = added[alias]
            with django_db_blocker.unblock():
                call_command("migrate", database=alias, verbosity=0)
        yield
        for alias in ("sqlite", "postgres"):
            connections[alias].close()
            del connections[alias]
            del connections.settings[alias]


@pytest.fixture(params=["sqlite", "postgres"])
def using(request: pytest.FixtureRequest) -> str:
    """The alias of an empty outbox."""
    alias: str = request.param
    return alias


@contextlib.asynccontextmanager
async def relaying(using: str, count: int = 1) -> AsyncIterator[list[Relay]]:
    hub = serving_hub()
    relays = [Relay(using, lambda: hub) for _ in range(count)]
    for each in relays:
        each.start()
    try:
        yield relays
    finally:
        for each in relays:
            each.stop()
            await asyncio.wait_for(asyncio.wrap_future(each.ended), 10)


async def query(alias: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a function that uses the database, in a thread whose connection is closed after it."""

    def work() -> Any:
        try:
            return function(*args, **kwargs)
        finally:
            connections[alias].close()

    return await asyncio.to_thread(work)


async def emit(event: str, using: str) -> None:
    await query(using, keep, event, using=using)


async def until_empty(using: str) -> None:
    async def probe() -> list[str]:
        return await query(using, stored, using)  # type: ignore[no-any-return]

    await eventually(probe, lambda names: not names, interval=0.02)


async def test_an_event_is_sent_within_a_second_of_its_commit(using: str) -> None:
    async with clients("lobby") as (client,), relaying(using):
        for number in range(3):
            began_at = time.monotonic()
            await emit(str(number), using)
            assert (await client.expect_event()).name == str(number)
            assert time.monotonic() - began_at < 1
        await until_empty(using)


async def test_postgres_notifies_a_relay_of_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "_POLL_EVERY", 30.0)
    async with clients("lobby") as (client,), relaying("postgres"):
        await emit("first", "postgres")
        await client.expect_event("first", timeout=10)
        await until_empty("postgres")
        monkeypatch.setattr(commits, "_bells", {"postgres": set()})  # as if it committed elsewhere
        for number in range(20):
            await emit(str(number), "postgres")
            await client.expect_event(str(number), timeout=10)
        monkeypatch.undo()


async def test_one_relay_works_and_another_takes_over(using: str) -> None:
    async with clients("lobby") as (client,), relaying(using, 3) as relays:
        names = {each._turn.name for each in relays}
        while relays:
            await emit("news", using)
            await client.expect_event("news", timeout=10)
            await until_empty(using)
            at_work = [each for each in relays if each._turn._prolong_at > 0]
            assert len(at_work) == 1
            assert at_work[0]._turn.name in names
            at_work[0].stop()
            await asyncio.wrap_future(at_work[0].ended)
            relays.remove(at_work[0])
        await client.expect_nothing()


def end_backend(pid: int) -> None:
    with connections["postgres"].cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", [pid])


async def test_a_relay_goes_on_after_the_database_was_gone(caplog: pytest.LogCaptureFixture) -> None:
    async with clients("lobby") as (client,), relaying("postgres") as (only,):
        await emit("before", "postgres")
        await client.expect_event("before", timeout=10)
        await until_empty("postgres")
        await query("postgres", end_backend, only._bell._listening.info.backend_pid)
        await emit("after", "postgres")
        await client.expect_event("after", timeout=10)
        await until_empty("postgres")
    lines = [record.message for record in caplog.records if record.name == "django_etp.outbox.relay"]
    assert len(lines) == 2
    assert lines[0].startswith("The relay of durable events cannot use the database 'postgres' and tries again")
    assert lines[1] == "The relay of durable events in database 'postgres' works again."


async def test_missing_tables_are_one_line_in_the_log(caplog: pytest.LogCaptureFixture, monkeypatch: Any) -> None:
    monkeypatch.setattr(relay, "_STAND_BY", 0.05)
    await query("sqlite", call_command, "migrate", "django_etp_outbox", "zero", database="sqlite", verbosity=0)
    async with clients("lobby") as (client,), relaying("sqlite"):
        await until(lambda: "run manage.py migrate --database sqlite" in caplog.text)
        await query("sqlite", call_command, "migrate", database="sqlite", verbosity=0)
        await emit("news", "sqlite")
        await client.expect_event("news", timeout=10)
        await until_empty("sqlite")
    lines = [record.message for record in caplog.records if record.name == "django_etp.outbox.relay"]
    assert len(lines) == 2
    assert lines[1] == "The relay of durable events in database 'sqlite' works again."


async def test_an_outage_of_the_layer_is_one_line_in_the_log_and_one_at_its_end(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with clients("lobby") as (client,):
        hub, link = serving_hub(), Link()
        with monkeypatch.context() as context:
            context.setattr(hub, "link", link)
            context.setattr(hub.asker, "_link", link)
            link.refuses = lambda frame: True
            async with relaying("sqlite"):
                await emit("news", "sqlite")
                await until(lambda: len(link.published) > 4)
                link.refuses = lambda frame: False
                await until_empty("sqlite")
                await until(lambda: "relayed again" in caplog.text)
        assert await got(client) == [["news"]]
    lines = [record.message for record in caplog.records if record.name == "django_etp.outbox.relay"]
    assert lines == [
        "Durable events in database 'sqlite' wait and are sent again: refused",
        "Durable events in database 'sqlite' are relayed again.",
    ]


async def test_a_server_has_one_relay_for_each_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "is_under_test", lambda: False)
    monkeypatch.setattr(servers, "databases", lambda: ["sqlite", "postgres"])
    relays = servers.ServerRelays()
    async with clients("lobby") as (client,):
        for _ in range(2):
            relays.start(serving_hub())
        first = relays._relays
        assert len(first) == 2
        for using in ("sqlite", "postgres"):
            await emit(using, using)
            await client.expect_event(using, timeout=10)
        await relays.stop()
        assert all(relay.ended.done() for relay in first)
        relays.start(serving_hub())
        assert len(relays._relays) == 2
        assert relays._relays != first
        await relays.stop()
        await asyncio.gather(*(asyncio.wrap_future(relay.ended) for relay in relays._relays))


async def test_a_relay_ends_if_it_has_no_hub_any_more() -> None:
    hubs: list[Hub] = []
    ended = Relay("sqlite", lambda: hubs[0] if hubs else None)
    ended.start()
    await asyncio.wait_for(asyncio.wrap_future(ended.ended), 10)
