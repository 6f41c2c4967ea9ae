"""The fixtures, in the test run of a project that has the package installed."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.db import connections

from django_etp import Connection, Event, etp_event
from django_etp.events.registry import Registry
from django_etp.testing import EtpCommunicator
from tests.support.postgres import start_postgres

ROOT = Path(__file__).parent.parent


def test_the_communicator_fixture_is_the_class(etp_communicator: type[EtpCommunicator]) -> None:
    assert etp_communicator is EtpCommunicator


def test_the_registry_fixture_is_the_registry(etp_registry: Registry) -> None:
    from django_etp.events.registry import registry

    assert etp_registry is registry


async def test_the_orm_works_inside_the_tests_transaction_from_the_start(
    db: None, etp_communicator: type[EtpCommunicator], etp_registry: Registry
) -> None:
    @etp_event("count")
    def count(connection: Connection, event: Event) -> int:
        return User.objects.count()

    await User.objects.acreate(username="before")
    assert await User.objects.acount() == 1
    async with etp_communicator() as client:
        await User.objects.acreate(username="connected")
        assert (await client.emit_with_ack("count")).data == "2"
    await User.objects.acreate(username="after")
    assert await User.objects.acount() == 3


@pytest.fixture
def in_transaction(db: None) -> Any:
    """A function that tells whether the connection of the ORM's a-methods is the one of the test."""
    mine = connections["default"]
    return sync_to_async(lambda: connections["default"] is mine)


@pytest.mark.django_db
async def test_it_does_so_with_the_mark_as_with_the_fixture(etp_communicator: Any, in_transaction: Any) -> None:
    assert await in_transaction()


async def test_it_does_so_where_a_fixture_asks_for_the_database(
    admin_user: User, etp_communicator: Any, in_transaction: Any
) -> None:
    assert await in_transaction()


async def test_it_does_so_whatever_the_order_of_the_fixtures(etp_communicator: Any, in_transaction: Any) -> None:
    assert await in_transaction()


async def test_without_the_fixture_the_connection_is_another(in_transaction: Any) -> None:
    assert not await in_transaction()


async def test_it_works_with_a_transactional_test(transactional_db: None, etp_communicator: Any) -> None:
    await User.objects.acreate(username="before")
    assert await User.objects.acount() == 1


async def test_it_works_without_a_database(etp_communicator: type[EtpCommunicator]) -> None:
    async with etp_communicator():
        pass


# A project's own run


SETTINGS = """
from tests.settings import *

DATABASES = {{"default": {database!r}}}
"""
OPTIONS = ["asyncio_mode=auto", "asyncio_default_fixture_loop_scope=function", "filterwarnings=error"]


def sqlite(name: str | None = None) -> dict[str, Any]:
    """Return the settings for a test database in a file, or in memory."""
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": "unused", "TEST": {"NAME": name}}


def run_project_tests(folder: Path, text: str, *options: str, database: Mapping[str, Any]) -> Any:
    (folder / "test_project.py").write_text(text)
    (folder / "project_settings.py").write_text(SETTINGS.format(database=database))
    (folder / "pytest.ini").write_text("\n".join(["[pytest]", "pythonpath = .", *options]))
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "project_settings", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(params=["memory", "file", "postgres"])
def database(request: pytest.FixtureRequest) -> Iterator[Mapping[str, Any]]:
    if request.param == "postgres":
        with start_postgres() as settings:
            yield settings
    else:
        yield sqlite("tests.sqlite3" if request.param == "file" else None)


def test_nothing_of_one_test_reaches_the_next(tmp_path: Path, database: Mapping[str, Any]) -> None:
    output = run_project_tests(
        tmp_path,
        """
import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.test import TestCase, TransactionTestCase

from django_etp import etp_event, rooms
from django_etp.sessions.storage import create_session
from django_etp.testing import EtpCommunicator


def register():
    @etp_event("async")
    async def async_handler(connection, event):
        await User.objects.acreate(username="async")
        return await User.objects.acount()

    @etp_event("plain")
    def plain_handler(connection, event):
        User.objects.create(username="plain")
        return User.objects.count()


async def use(communicator, start):
    async with communicator() as client:
        assert (await client.emit_with_ack("async")).json() == start + 1
        assert (await client.emit_with_ack("plain")).json() == start + 2


@pytest.mark.parametrize("turn", [1, 2])
async def test_in_a_transaction(db, etp_communicator, etp_registry, turn):
    register()
    await User.objects.acreate(username="before")
    await use(etp_communicator, 1)


@pytest.mark.parametrize("turn", [1, 2])
async def test_without_the_fixture(db, etp_registry, turn):
    register()
    await use(EtpCommunicator, 0)


@pytest.mark.parametrize("turn", [1, 2])
async def test_without_a_transaction(transactional_db, etp_communicator, etp_registry, turn):
    register()
    await User.objects.acreate(username="before")
    await use(etp_communicator, 1)


@pytest.mark.parametrize("turn", [1, 2])
async def test_the_session(db, etp_communicator, etp_registry, turn):
    @etp_event("put")
    def put(connection, event):
        connection.data["seat"] = connection.session["seat"] = turn
        return rooms.update_data(connection.id, {"row": 7})

    key = await sync_to_async(create_session)(lambda content: content.update(cart=[1]))
    async with etp_communicator(headers=[("cookie", f"sessionid={key}")]) as client:
        assert (await client.emit_with_ack("put")).json() == {"seat": turn, "row": 7}
        content = (await Session.objects.aget()).get_decoded()
        assert list(content.pop("etp").values()) == [{"seat": turn, "row": 7}]
        assert content == {"cart": [1], "seat": turn}


@pytest.mark.parametrize("turn", [1, 2])
async def test_without_a_database(etp_communicator, etp_registry, turn):
    async with etp_communicator():
        assert etp_registry.namespace("default").events == {}


@pytest.mark.parametrize("turn", [1, 2])
async def test_without_a_database_or_the_fixture(etp_registry, turn):
    @etp_event("touch")
    def touch(connection, event):
        connection.data["seat"] = connection.session["seat"] = 1
        return connection.user.is_anonymous

    for user in (None, User(username="ann")):
        async with EtpCommunicator(user=user) as client:
            assert (await client.emit_with_ack("touch")).json() is (user is None)


@pytest.mark.usefixtures("etp_registry")
class DjangoTests:
    async def test_async(self):
        register()
        await User.objects.acreate(username="before")
        await use(EtpCommunicator, 1)

    def test_plain(self):
        register()
        User.objects.create(username="before")
        async_to_sync(use)(EtpCommunicator, 1)
        assert User.objects.count() == 3


class UnderTestCase(DjangoTests, TestCase):
    pass


class UnderTransactionTestCase(DjangoTests, TransactionTestCase):
    pass


def test_what_is_left(db):
    assert User.objects.count() == Session.objects.count() == 0
""",
        *OPTIONS,
        database=database,
    )
    assert "17 passed" in output


def test_a_project_without_django_is_left_alone(tmp_path: Path) -> None:
    output = run_project_tests(
        tmp_path,
        """
import sys


def test_nothing():
    assert "channels" not in sys.modules
""",
        "addopts = -p no:django",
        "asyncio_default_fixture_loop_scope=function",
        database=sqlite(),
    )
    assert "1 passed" in output
