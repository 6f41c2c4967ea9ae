"""Events bound to a commit in the tests of users: each way to test, with and without the testing kit."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import AnonymousUser, User
from django.db.transaction import atomic
from django.test import TestCase, TransactionTestCase

from django_etp import EmitInTransaction, Event, etp_event, on_connect, rooms
from django_etp.testing import EtpCommunicator
from tests.support.inprocess import Wire

pytestmark = pytest.mark.usefixtures("etp_registry")


def member() -> EtpCommunicator:
    @on_connect
    async def join(connection: Any) -> None:
        await connection.ajoin("lobby")

    return EtpCommunicator(user=AnonymousUser())


async def heard(client: EtpCommunicator) -> list[str]:
    """Return the events that came so far."""
    await rooms.aemit("lobby", "end")
    names = []
    while (event := await client.expect_event()).name != "end":
        names.append(event.name + event.data)
    return names


def pay() -> None:
    """Change something, as code under test does."""
    with atomic():
        User.objects.create(username="alice")
        rooms.emit_on_commit("lobby", "replaced", key=5)
        with atomic():
            rooms.emit_on_commit("lobby", "first")
        try:
            with atomic():
                rooms.emit_on_commit("lobby", "dropped")
                raise ZeroDivisionError
        except ZeroDivisionError:
            pass
        rooms.emit_on_commit("lobby", "replaced", "by this", key=5)


def fail() -> None:
    with atomic():
        rooms.emit_on_commit("lobby", "dropped")
        raise ZeroDivisionError


def pay_without_savepoint() -> None:
    with atomic(savepoint=False):
        rooms.emit_on_commit("lobby", "first")


PAID = ["first", "replacedby this"]


async def under_the_kit() -> None:
    async with member() as client:
        await sync_to_async(pay)()
        assert await heard(client) == PAID
        with pytest.raises(ZeroDivisionError):
            await sync_to_async(fail)()
        assert await heard(client) == []
        await sync_to_async(pay_without_savepoint)()
        await sync_to_async(rooms.emit_on_commit)("lobby", "at once")
        assert await heard(client) == ["first", "at once"]


class KitInTestCase(TestCase):
    async def test_it_works_by_itself(self) -> None:
        await under_the_kit()

    async def test_an_async_test_may_capture_and_each_event_is_sent_once(self) -> None:
        async with member() as client:

            def capture_and_pay() -> int:
                with self.captureOnCommitCallbacks(execute=True) as callbacks:
                    pay()
                return len(callbacks)

            with self.captureOnCommitCallbacks(execute=True):
                assert await sync_to_async(capture_and_pay)() > 0
            assert await heard(client) == PAID


class KitInTransactionTestCase(TransactionTestCase):
    async def test_it_works_by_itself(self) -> None:
        await under_the_kit()


@pytest.mark.django_db
async def test_the_kit_works_by_itself_with_the_db_of_pytest():
    await under_the_kit()


@pytest.mark.django_db
async def test_durable_events_are_sent_by_themselves():
    def work() -> None:
        rooms.emit_on_commit("lobby", "alone", durable=True)
        with atomic():
            rooms.emit_on_commit("lobby", "replaced", key=5, durable=True)
            rooms.emit_on_commit("lobby", "first", durable=True)
            rooms.emit_on_commit("lobby", "replaced", "by this", key=5, durable=True)
        with suppress(ZeroDivisionError), atomic():
            rooms.emit_on_commit("lobby", "dropped", durable=True)
            raise ZeroDivisionError

    async with member() as client:
        await sync_to_async(work)()
        assert await heard(client) == ["alone", *PAID]


@pytest.mark.django_db
async def test_a_plain_handler_and_the_a_methods_of_the_orm_send_by_themselves():
    @etp_event("pay")
    def handle(connection: Any, event: Event) -> None:
        pay()

    async with member() as client:
        await client.emit_with_ack("pay")
        assert await heard(client) == PAID


@pytest.mark.django_db
async def test_the_kit_warns_of_a_plain_emit_in_a_transaction_of_the_code_under_test():
    def emit() -> None:
        rooms.emit("lobby", "news")
        with atomic(), pytest.warns(EmitInTransaction):
            rooms.emit("lobby", "news")

    async with member() as client:
        await sync_to_async(emit)()
        assert await heard(client) == ["news", "news"]


def hear(work: Callable[[], Any]) -> list[str]:
    """Return what a member hears of a function; the member's server runs on another thread, without the kit."""
    connected: Future[None] = Future()

    @on_connect
    async def join(connection: Any) -> None:
        await connection.ajoin("lobby")

    async def serve() -> list[str]:
        async with Wire() as wire:
            connected.set_result(None)
            texts = []
            while (text := await wire.text()) != "end||0":
                texts.append(text)
            return texts

    with ThreadPoolExecutor() as executor:
        serving = executor.submit(asyncio.run, serve())
        connected.result(10)
        work()
        rooms.emit("lobby", "end")
        return serving.result(10)


class CaptureInTestCase(TestCase):
    def hear_of(self, *, execute: bool) -> tuple[list[str], int]:
        """Return what a member hears of emits in and around a block that captures, and how many it captured."""
        captured: list[Any] = []

        def work() -> None:
            pay()
            with self.captureOnCommitCallbacks(execute=execute) as callbacks:
                rooms.emit_on_commit("lobby", "captured", key=6)
                with atomic():
                    rooms.emit_on_commit("lobby", "captured", "later", key=6)
            captured.extend(callbacks)

        return hear(work), len(captured)

    def test_what_was_captured_is_sent(self) -> None:
        assert self.hear_of(execute=True) == (["captured||0||later"], 2)

    def test_what_was_captured_is_not_sent_by_itself(self) -> None:
        assert self.hear_of(execute=False) == ([], 2)

    def test_a_second_block_sends_its_own(self) -> None:
        def work() -> None:
            for data in ("1", "2"):
                with self.captureOnCommitCallbacks(execute=True):
                    rooms.emit_on_commit("lobby", "captured", data, key=6)

        assert hear(work) == ["captured||0||1", "captured||0||2"]
