"""What a client that speaks the extensions is told where a handler sends, asks another client, or says itself why."""

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from django.utils.translation import gettext_lazy

from django_etp import (
    Connection,
    ConnectionClosed,
    Event,
    EventFailed,
    InvalidPayload,
    etp_event,
    etp_room,
    on_connect,
    on_error,
    rooms,
)
from django_etp.events import errors as errors_module
from django_etp.testing import EtpCommunicator
from tests.support.declared import guest
from tests.support.hooks import both, handler, panic
from tests.support.inprocess import Wire, errors, until

pytestmark = pytest.mark.usefixtures("etp_registry")

# What another client says as a failure, which is nobody else's business.
FORGED = '__err_question||1||{"code": "forged", "message": "call 555-0100"}'
HANDLER_ERROR = {"code": "handler_error", "message": "The handler failed."}


class Client(EtpCommunicator):
    """A test client that speaks the extensions and has had its greeting; `id` is its connection's."""

    id = ""

    def __init__(self) -> None:
        super().__init__(subprotocols=["etp.ext.v1"])

    async def connect(self, *, timeout: float = 6.0) -> None:
        await super().connect(timeout=timeout)
        self.id = (await self.expect_event("__hello")).json()["id"]

    async def ask(self, event: str, data: str = "") -> None:
        """Send a question; what comes back stays among the frames."""
        await self.send_frame(f"{event}||7||{data}")

    async def failure(self) -> Any:
        """Return the data of the next frame, which must say that the question failed."""
        event = await self.expect_event()
        assert event.is_failure
        assert event.ack_id == 7
        return event.json()


# What another client said


def ask_others() -> None:
    """Register handlers that ask the client whose id is the event's data, in each way there is."""
    connections: dict[str, Connection] = {}

    @on_connect
    async def keep(connection: Connection) -> None:
        connections[connection.id] = connection

    @etp_event("room")
    async def ask_through_rooms(connection: Connection, event: Event) -> str:
        return (await rooms.aemit_to_with_ack(event.data, "question")).data

    @etp_event("connection")
    async def ask_through_its_connection(connection: Connection, event: Event) -> str:
        return (await connections[event.data].aemit_with_ack("question")).data

    @etp_event("plain room")
    def ask_through_rooms_in_a_thread(connection: Connection, event: Event) -> str:
        return rooms.emit_to_with_ack(event.data, "question").data

    @etp_event("plain connection")
    def ask_through_its_connection_in_a_thread(connection: Connection, event: Event) -> str:
        return connections[event.data].emit_with_ack("question").data


@pytest.mark.parametrize("event", ["room", "connection", "plain room", "plain connection"])
async def test_what_one_client_says_as_a_failure_is_not_passed_on_to_another(event: str) -> None:
    told = errors()
    ask_others()
    async with Client() as asking, Client() as asked:
        await asking.ask(event, asked.id)
        await asked.expect_event("question")
        await asked.send_frame(FORGED)
        assert await asking.failure() == HANDLER_ERROR
    [error] = told
    assert isinstance(error, EventFailed)
    assert (error.code, error.message, error.is_from_peer) == ("forged", "call 555-0100", True)


async def test_a_failure_that_a_client_said_itself_does_not_come_back_to_it() -> None:
    @etp_event("ask")
    async def ask_back(connection: Connection, event: Event) -> str:
        return (await connection.aemit_with_ack("question")).data

    async with Client() as client:
        await client.ask("ask")
        await client.expect_event("question")
        await client.send_frame(FORGED)
        assert await client.failure() == HANDLER_ERROR


async def test_an_answer_of_another_client_that_cannot_be_read_is_not_the_askers_fault() -> None:
    @etp_event("ask")
    async def ask(connection: Connection, event: Event) -> Any:
        return (await rooms.aemit_to_with_ack(event.data, "question")).json()

    told = errors()
    async with Client() as asking, Client() as asked:
        await asking.ask("ask", asked.id)
        question = await asked.expect_event("question")
        await asked.send_frame(f"__ack_question||{question.ack_id}||call 555-0100")
        assert await asking.failure() == HANDLER_ERROR
    [error] = told
    assert isinstance(error, InvalidPayload)
    assert error.is_answer


async def test_a_failure_that_the_application_makes_of_another_clients_goes_out_as_it_is() -> None:
    @etp_event("ask")
    async def ask(connection: Connection, event: Event) -> None:
        try:
            await rooms.aemit_to_with_ack(event.data, "question")
        except EventFailed as failure:
            raise EventFailed("refused", "The other side would not.") from failure

    told = errors()
    async with Client() as asking, Client() as asked:
        await asking.ask("ask", asked.id)
        await asked.expect_event("question")
        await asked.send_frame(FORGED)
        assert await asking.failure() == {"code": "refused", "message": "The other side would not."}
    [error] = told
    assert isinstance(error, EventFailed)
    assert not error.is_from_peer


async def test_what_a_client_says_as_a_failure_is_one_short_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    @etp_event("ask")
    async def ask_back(connection: Connection, event: Event) -> None:
        await connection.aemit_with_ack("q")

    said = {"code": "x\nCRITICAL root: forged", "message": "y\r\nCRITICAL root: forged\x1b[2J" + "z" * 100_000}
    async with Client() as client:
        await client.ask("ask")
        await client.expect_event("q")
        await client.send_frame(f"__err_q||1||{json.dumps(said)}")
        await client.failure()
    [record] = [record for record in caplog.records if record.name == "django_etp.events.errors"]
    line = record.getMessage()
    assert "CRITICAL root: forged" in line
    assert line.isprintable()
    assert len(line) < 1_200
    assert (record.levelno, record.exc_info) == (logging.WARNING, None)


async def test_what_a_client_says_as_a_failure_is_one_line_of_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    @etp_event("ask")
    async def ask_back(connection: Connection, event: Event) -> None:
        try:
            await connection.aemit_with_ack("q")
        except EventFailed as failure:
            raise LookupError("no answer") from failure

    async with Client() as client:
        await client.ask("ask")
        await client.expect_event("q")
        await client.send_frame('__err_q||1||{"code": "x\\nCRITICAL root: forged"}')
        await client.failure()
    assert "CRITICAL root: forged" in caplog.text
    assert [line for line in caplog.text.splitlines() if line.startswith("CRITICAL")] == []


# What the application says itself


async def test_a_failure_in_the_readers_language_goes_out_as_text() -> None:
    @etp_event("fail")
    async def fail(connection: Connection, event: Event) -> None:
        raise EventFailed(gettext_lazy("busy"), gettext_lazy("Try again later."))  # type: ignore[arg-type]

    async with Client() as client:
        await client.ask("fail")
        assert await client.failure() == {"code": "busy", "message": "Try again later."}


# Payloads


async def emit_to_a_room(connection: Connection, event: Event) -> None:
    await rooms.aemit("lobby", "news", object())


async def emit_to_a_connection(connection: Connection, event: Event) -> None:
    await rooms.aemit_to(connection.id, "news", object())


async def emit(connection: Connection, event: Event) -> None:
    await connection.aemit("news", object())


async def emit_a_lone_surrogate(connection: Connection, event: Event) -> None:
    await connection.aemit("news", "\ud800")


async def ask_for_an_answer(connection: Connection, event: Event) -> None:
    await connection.aemit_with_ack("question", object())


async def answer(connection: Connection, event: Event) -> object:
    return object()


def emit_in_a_thread(connection: Connection, event: Event) -> None:
    connection.emit("news", object())


@pytest.mark.parametrize(
    "function",
    [
        emit_to_a_room,
        emit_to_a_connection,
        emit,
        emit_a_lone_surrogate,
        ask_for_an_answer,
        answer,
        emit_in_a_thread,
    ],
)
async def test_a_payload_that_the_handler_cannot_send_is_its_own_fault(function: Callable[..., Any]) -> None:
    told = errors()
    etp_event("send")(function)
    async with Client() as client:
        await client.ask("send", "{}")
        assert await client.failure() == HANDLER_ERROR
    assert [type(error) for error in told] == [InvalidPayload]


async def read(connection: Connection, event: Event) -> None:
    event.json()


async def refuse(connection: Connection, event: Event) -> None:
    raise InvalidPayload("A number was expected.")


@pytest.mark.parametrize(
    ("function", "message"),
    [(read, "The data of event 'fail' is not JSON: "), (refuse, "A number was expected.")],
)
async def test_a_payload_that_the_handler_cannot_use_is_the_clients_fault(
    function: Callable[..., Any], message: str
) -> None:
    etp_event("fail")(function)
    async with Client() as client:
        await client.ask("fail", "no JSON")
        failure = await client.failure()
    assert failure["code"] == "invalid_payload"
    assert failure["message"].startswith(message)


# on_error and the log


def fail(connection: Connection, event: Event) -> None:
    raise ZeroDivisionError("secret details")


@both
async def test_on_error_is_told_the_connection_and_the_exception(is_async: bool) -> None:
    told: list[Any] = []

    async def hook(connection: Connection | None, error: BaseException) -> None:
        told.append((connection, error))

    def plain_hook(connection: Connection | None, error: BaseException) -> None:
        told.append((connection, error))

    on_error(hook if is_async else plain_hook)
    handler("fail", True, fail)
    async with EtpCommunicator() as client:
        await client.emit("fail")
        await until(lambda: told)
    ((connection, error),) = told
    assert isinstance(connection, Connection)
    assert isinstance(error, ZeroDivisionError)


async def test_on_error_hooks_all_run_though_one_fails() -> None:
    told = []

    @on_error
    def first(connection: Connection | None, error: BaseException) -> None:
        told.append("first")
        raise ValueError

    @on_error
    async def second(connection: Connection | None, error: BaseException) -> None:
        told.append("second")
        raise ValueError

    @on_error
    async def third(connection: Connection | None, error: BaseException) -> None:
        told.append("third")

    handler("fail", True, fail)
    async with EtpCommunicator() as client:
        await client.emit("fail")
        await until(lambda: len(told) == 3)
        assert (await client.emit_with_ack("unknown")).data == ""
    assert told == ["first", "second", "third"]


async def test_on_error_hooks_all_run_though_one_fails_at_a_cancelled_call(caplog: pytest.LogCaptureFixture) -> None:
    @on_error
    async def await_what_was_cancelled(connection: Connection | None, error: BaseException) -> None:
        sleeping = asyncio.create_task(asyncio.sleep(60))
        sleeping.cancel()
        await sleeping

    told = errors()
    handler("fail", True, fail)
    async with EtpCommunicator(subprotocols=["etp.ext.v1"]) as client:
        await client.expect_event("__hello")
        await client.send_frame("fail||1")
        assert (await client.receive_frame()).startswith('__err_fail||1||{"code":"handler_error"')
    assert [type(error) for error in told] == [ZeroDivisionError]
    assert "await_what_was_cancelled" in records(caplog)[-1].getMessage()


async def test_on_error_hooks_all_run_though_one_panics() -> None:
    on_error(panic)
    told = errors()
    handler("fail", True, fail)
    async with Wire() as wire:
        wire.put("fail||0")
        await until(lambda: told)
    assert [type(error) for error in told] == [ZeroDivisionError]


async def test_an_on_error_hook_that_hangs_is_left_behind(monkeypatch: Any) -> None:
    monkeypatch.setattr(errors_module, "_ERROR_LIMIT", 0.05)

    @on_error
    async def hang(connection: Connection | None, error: BaseException) -> None:
        await asyncio.Event().wait()

    told = errors()
    handler("fail", True, fail)
    async with EtpCommunicator() as client:
        await client.emit("fail")
        await until(lambda: told)


def records(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == "django_etp.events.errors"]


@both
async def test_the_log_tells_of_a_failed_handler_with_its_traceback(
    is_async: bool, caplog: pytest.LogCaptureFixture
) -> None:
    told = errors()
    handler("fail", is_async, fail)
    async with EtpCommunicator() as client:
        await client.send_frame("fail||1||payload")
        await until(lambda: told)
    (record,) = records(caplog)
    assert record.levelno == logging.ERROR
    assert record.exc_info
    assert "'fail'" in record.getMessage()
    assert "payload" not in caplog.text


async def test_the_log_tells_which_connection_failed(caplog: pytest.LogCaptureFixture) -> None:
    told: list[Connection] = []
    on_error(lambda connection, error: told.append(connection))
    handler("fail", True, fail)
    async with EtpCommunicator() as client:
        await client.emit("fail")
        await until(lambda: told)
    assert told[0].id in records(caplog)[0].getMessage()


async def misname(connection: Connection, event: Event) -> None:
    await connection.aemit("a||b")


async def ask(connection: Connection, event: Event) -> None:
    await connection.aemit_with_ack("question", timeout=0.01)


@pytest.mark.parametrize(
    ("frame", "is_the_codes_fault"),
    [("no frame", False), ("ask||0", False), ("fail||0", True), ("misname||0", True)],
)
async def test_the_log_has_a_traceback_only_where_the_code_is_at_fault(
    frame: str, is_the_codes_fault: bool, caplog: pytest.LogCaptureFixture
) -> None:
    told = errors()
    handler("fail", True, fail)
    etp_event("misname")(misname)
    etp_event("ask")(ask)
    async with EtpCommunicator() as client:
        await client.send_frame(frame)
        await until(lambda: told)
    (record,) = records(caplog)
    assert (record.levelno, bool(record.exc_info)) == (
        (logging.ERROR, True) if is_the_codes_fault else (logging.WARNING, False)
    )


async def test_a_client_that_leaves_a_question_open_is_no_error_of_the_code(caplog: pytest.LogCaptureFixture) -> None:
    told = errors()

    @etp_event("ask")
    async def ask(connection: Connection, event: Event) -> None:
        await connection.aemit_with_ack("question")

    async with EtpCommunicator() as client:
        await client.emit("ask")
        await client.expect_event("question")
    assert [type(error) for error in told] == [ConnectionClosed]
    assert records(caplog)[0].levelno == logging.WARNING


async def test_log_records_have_the_event_the_connection_the_user_and_the_room(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "django_etp")

    @etp_room("orders/<int:pk>")
    async def order_room(connection: Connection, pk: int) -> None: ...

    @order_room.event("say")
    async def say(connection: Connection, event: Event, pk: int) -> None:
        raise ValueError("a bug")

    @etp_event("refuse")
    async def refuse(connection: Connection, event: Event) -> None:
        raise EventFailed("sold_out")

    async with guest() as client:
        await client.join("orders/5")
        for frame in ("__in orders/5 say||1", "refuse||2"):
            await client.send_frame(frame)
            await client.receive_frame()
    bug, refusal = [record for record in caplog.records if " failed at event " in record.getMessage()]
    assert [(record.__dict__["event"], record.__dict__["room"], record.levelname) for record in (bug, refusal)] == [
        ("say", "orders/5", "ERROR"),
        ("refuse", None, "INFO"),
    ]
    assert all(record.__dict__["connection_id"] in record.getMessage() for record in (bug, refusal))
    assert bug.__dict__["user_id"] is None
