"""What a client that speaks the extensions is told where a handler sends, asks another client, or says itself why."""

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from django.utils.translation import gettext_lazy

from django_etp import Connection, Event, EventFailed, InvalidPayload, etp_event, on_connect, rooms
from django_etp.testing import EtpCommunicator
from tests.support.inprocess import errors

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
