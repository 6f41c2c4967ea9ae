"""The limit for queries of handlers, as a project's tests use it."""

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.db import connection as database
from django.db.backends.utils import CursorWrapper
from django.test import TestCase

from django_etp import Connection, Event, etp_event, on_connect
from django_etp.events.registry import Registry
from django_etp.testing import EtpCommunicator


@pytest.fixture(autouse=True)
def _handlers(etp_registry: Registry) -> None:
    @on_connect
    def enter(connection: Connection) -> None:
        User.objects.count()

    @etp_event("plain")
    def plain(connection: Connection, event: Event) -> int:
        return sum(User.objects.count() for _ in range(int(event.data)))

    @etp_event("async")
    async def asynchronous(connection: Connection, event: Event) -> int:
        return sum([await User.objects.acount() for _ in range(int(event.data))])

    @etp_event("many")
    def many(connection: Connection, event: Event) -> None:
        with database.cursor() as cursor:
            cursor.executemany("UPDATE auth_user SET username = %s WHERE id = %s", [("a", 1), ("b", 2)])


@pytest.fixture(params=["db", "transactional_db"])
def database_access(request: pytest.FixtureRequest) -> None:
    request.getfixturevalue(request.param)


@pytest.mark.usefixtures("database_access")
@pytest.mark.parametrize("event", ["plain", "async"])
async def test_a_handler_may_run_so_many_queries_and_no_more(event: str) -> None:
    listed = r"at most 2 queries of handlers, got 3:\n1\. SELECT COUNT.*\n2\..*\n3\."
    async with EtpCommunicator() as client:
        with client.sql_budget(3) as queries:
            await client.emit_with_ack(event, "3")
        assert len(queries) == 3
        with pytest.raises(AssertionError, match=listed), client.sql_budget(2):
            await client.emit_with_ack(event, "3")


@pytest.mark.django_db
async def test_queries_of_the_test_and_of_hooks_do_not_count() -> None:
    async with EtpCommunicator() as client:
        with client.sql_budget(0):
            await User.objects.acount()
            await sync_to_async(User.objects.count)()
            async with EtpCommunicator() as other:
                await other.emit_with_ack("plain", "0")


@pytest.mark.django_db
async def test_many_rows_of_one_statement_are_one_query() -> None:
    async with EtpCommunicator() as client:
        with client.sql_budget(1) as queries:
            await client.emit_with_ack("many")
        assert queries == ["UPDATE auth_user SET username = %s WHERE id = %s"]


@pytest.mark.django_db
async def test_blocks_may_overlap_and_leave_nothing_behind() -> None:
    before = CursorWrapper.execute, CursorWrapper.executemany
    async with EtpCommunicator() as client:
        outer, inner = client.sql_budget(5), client.sql_budget(5)
        first, second = outer.__enter__(), inner.__enter__()
        await client.emit_with_ack("plain", "2")
        outer.__exit__(None, None, None)
        await client.emit_with_ack("plain", "1")
        inner.__exit__(None, None, None)
    assert (len(first), len(second)) == (2, 3)
    assert (CursorWrapper.execute, CursorWrapper.executemany) == before


def test_an_error_of_the_block_is_raised_as_it_is() -> None:
    def use_too_much() -> None:
        with EtpCommunicator().sql_budget(0) as queries:
            queries.append("SELECT 1")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        use_too_much()


@pytest.mark.usefixtures("_handlers")
class UnderTestCase(TestCase):
    async def test_it_counts(self) -> None:
        async with EtpCommunicator() as client:
            with client.sql_budget(1) as queries:
                await client.emit_with_ack("plain", "1")
        assert len(queries) == 1


def test_what_it_lists_is_bounded() -> None:
    with pytest.raises(AssertionError) as raised, EtpCommunicator().sql_budget(1) as queries:
        queries.extend(["SELECT 1"] * 200)
    assert str(raised.value).count("SELECT") == 50
