"""What a client that speaks the extensions is told of events that failed, on the wire of real servers."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from django.core.exceptions import PermissionDenied
from websockets.asyncio.client import ClientConnection

from django_etp.events.errors import failure_of
from django_etp.exceptions import EventFailed, InvalidPayload, TooManyEvents
from tests.support.peers import connect, expect_close, receive
from tests.support.servers import Server


@pytest_asyncio.fixture
async def peer(server: Server) -> AsyncIterator[ClientConnection]:
    """A connection with the extensions, after its greeting."""
    async with connect(server, "/failing/", subprotocols=["etp.ext.v1"]) as peer:
        assert (await receive(peer)).startswith("__hello||0||")
        yield peer


async def failure(peer: ClientConnection, frame: str) -> tuple[str, dict[str, Any]]:
    """Send a question and return the head of the frame that answers it, and the data parsed."""
    await peer.send(frame)
    name, number, data = str(await receive(peer)).split("||", 2)
    return f"{name}||{number}", json.loads(data)


@pytest.mark.parametrize("event", ["fail", "fail in a thread"])
@pytest.mark.parametrize(
    ("data", "code", "message"),
    [
        ("handler_error", "handler_error", "The handler failed."),
        ("permission_denied", "permission_denied", "This is not yours."),
        ("rate_limited", "rate_limited", "Not so fast."),
        ("no answer", "handler_error", "The handler failed."),
        ("no JSON", "invalid_payload", None),
    ],
)
async def test_a_failed_event_is_answered_with_its_code(
    peer: ClientConnection, event: str, data: str, code: str, message: str | None
) -> None:
    head, failed = await failure(peer, f"{event}||7||{data}")
    assert head == f"__err_{event}||7"
    assert failed.keys() == {"code", "message"}
    assert failed["code"] == code
    assert message is None or failed["message"] == message


async def test_an_unknown_event_is_answered_with_its_code(peer: ClientConnection) -> None:
    head, failed = await failure(peer, "no such event||-7")
    assert head == "__err_no such event||-7"
    assert failed == {"code": "unknown_event", "message": "No handler for the event 'no such event'."}


async def test_a_failed_event_that_wants_no_answer_gets_none(peer: ClientConnection) -> None:
    await peer.send("fail||0||handler_error")
    await peer.send("nosuch||0")
    await peer.send("__ping||1")
    assert await receive(peer) == "__ack___ping||1"


async def test_the_event_that_is_one_too_many_is_answered_and_the_connection_closes(
    server: Server, peer: ClientConnection
) -> None:
    for number in range(1, 1102):
        await peer.send(f"wait||{number}")
    frames = [str(await receive(peer)) for _ in range(101)]
    assert [frame for frame in frames[:100] if not frame.startswith("never||")] == []
    name, number, data = frames[100].split("||", 2)
    assert (name, number, json.loads(data)["code"]) == ("__err_wait", "1101", "too_many_events")
    code, _ = await expect_close(peer)
    assert code == server.close_code(1008)


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (LookupError("a secret"), "handler_error", "LookupError: a secret"),
        (PermissionDenied(), "permission_denied", "This is not allowed."),
        (EventFailed("of_its_own", "x"), "of_its_own", "x"),
        (InvalidPayload("no JSON"), "invalid_payload", "no JSON"),
        (
            TooManyEvents("x"),
            "too_many_events",
            "Too many events wait to be handled; the connection is closed.",
        ),
    ],
)
def test_where_debug_is_on_the_text_of_an_unexpected_error_is_told(
    settings: Any, error: Exception, code: str, message: str
) -> None:
    settings.DEBUG = True
    failed = failure_of(error)
    assert (failed.code, failed.message) == (code, message)
