"""The Python client renews its login over the open socket, against a server that the test plays itself."""

import asyncio
import itertools
import json
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed as WebSocketClosed
from websockets.exceptions import InvalidStatus
from websockets.http11 import Request, Response

from django_etp.client import EtpClient, FailedAttempt
from django_etp.exceptions import EventFailed

WAIT = 10.0


class Peer:
    """The server's side. It greets with the first of `greetings`, and closes with 1013 where that is `None`."""

    def __init__(self) -> None:
        self.url = ""
        self.greetings: list[dict[str, Any] | None] = []
        self.refusal: int | None = None
        self.tokens: list[str] = []
        self._connections: asyncio.Queue[ServerConnection] = asyncio.Queue()

    def answer_http(self, connection: ServerConnection, request: Request) -> Response | None:
        self.tokens.append(request.headers.get("Authorization", "").removeprefix("Bearer "))
        return connection.respond(self.refusal, "") if self.refusal else None  # type: ignore[arg-type]

    async def serve(self, connection: ServerConnection) -> None:
        greeting = self.greetings.pop(0) if self.greetings else {}
        if greeting is None:
            await connection.close(1013, "try again later")
            return
        await connection.send(f"__hello||0||{json.dumps({'id': 'abc', **greeting})}")
        self._connections.put_nowait(connection)
        await connection.wait_closed()

    async def accept(self) -> ServerConnection:
        async with asyncio.timeout(WAIT):
            return await self._connections.get()

    def client(self, token: Any) -> EtpClient:
        return EtpClient(self.url, token=token, reconnect_delays=lambda: itertools.repeat(0.01), proxy=None)


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    peer = Peer()
    async with serve(
        peer.serve, "127.0.0.1", 0, process_request=peer.answer_http, select_subprotocol=lambda _, offered: offered[0]
    ) as server:
        peer.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        yield peer


def numbered() -> Callable[[], str]:
    numbers = itertools.count(1)
    return lambda: f"token-{next(numbers)}"


async def receive(connection: ServerConnection) -> str:
    async with asyncio.timeout(WAIT):
        return str(await connection.recv())


async def test_a_token_is_renewed_before_it_expires_and_again_before_the_next(peer: Peer) -> None:
    peer.greetings = [{"expires_in": 0.5}]
    async with peer.client(numbered()) as client:
        connection = await peer.accept()
        for number in (1, 2):
            assert await receive(connection) == f'__auth||{number}||{{"token": "token-{number + 1}"}}'
            await connection.send(f'__ack___auth||{number}||{{"expires_in": 0.4}}')
        assert await receive(connection) == '__auth||3||{"token": "token-4"}'
        await connection.send("__ack___auth||3||{}")  # it does not expire any more
        await asyncio.sleep(0.6)
        await client.emit("marker")
        assert await receive(connection) == "marker||0"
    assert peer.tokens == ["token-1"]


async def test_a_renewal_that_fails_is_reported_and_tried_again(peer: Peer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    answers: list[Any] = ["token-1", LookupError("offline"), "token-2", "token-3"]

    async def token() -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return str(answer)

    errors: list[BaseException] = []
    both_reported = asyncio.Event()

    def note(error: BaseException) -> None:
        errors.append(error)
        if len(errors) == 2:
            both_reported.set()

    peer.greetings = [{"expires_in": 3}]
    client = peer.client(token)
    client.on_error(note)
    async with client:
        connection = await peer.accept()
        assert await receive(connection) == '__auth||1||{"token": "token-2"}'
        await connection.send('__err___auth||1||{"code": "permission_denied", "message": "no"}')
        async with asyncio.timeout(WAIT):
            await both_reported.wait()
    assert [type(error) for error in errors] == [LookupError, EventFailed]
    logged = [record.getMessage() for record in caplog.records if record.name != "websockets.server"]
    assert logged
    assert not any("token-" in each for each in logged)


@pytest.mark.parametrize("greeting", [{}, {"expires_in": None}, {"expires_in": "soon"}, {"expires_in": 0}])
async def test_nothing_is_renewed_where_the_server_names_no_time(peer: Peer, greeting: dict[str, Any]) -> None:
    peer.greetings = [greeting]
    async with peer.client(numbered()) as client:
        connection = await peer.accept()
        await client.emit("marker")
        assert await receive(connection) == "marker||0"


async def test_a_value_is_not_renewed_and_its_expiry_is_final(peer: Peer) -> None:
    peer.greetings = [{"expires_in": 0.4}]
    async with peer.client("value") as client:
        connection = await peer.accept()
        await asyncio.sleep(0.5)
        await client.emit("marker")
        assert await receive(connection) == "marker||0"
        await connection.close(4401, "the token expired")
        async with asyncio.timeout(WAIT):
            await client.wait_closed()
    assert peer.tokens == ["value"]


async def test_a_function_brings_the_client_back_after_its_token_expired(peer: Peer) -> None:
    async with peer.client(numbered()) as client:
        await (await peer.accept()).close(4401, "the token expired")
        await (await peer.accept()).close(4401, "the token expired")
        async with asyncio.timeout(WAIT):
            await client.wait_closed()
    assert peer.tokens == ["token-1", "token-2"]


async def test_a_function_that_fails_is_an_attempt_that_failed(peer: Peer) -> None:
    answers: list[Any] = ["token-1", LookupError("offline"), "token-2"]

    def token() -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return str(answer)

    failed: list[FailedAttempt] = []
    client = peer.client(token)
    client.on_attempt_failed(failed.append)
    async with client:
        await (await peer.accept()).close(4401, "the token expired")
        await peer.accept()
    assert [type(attempt.error) for attempt in failed] == [LookupError]
    assert peer.tokens == ["token-1", "token-2"]


async def test_a_function_that_fails_at_first_is_raised(peer: Peer) -> None:
    def fail() -> str:
        raise LookupError("no token")

    with pytest.raises(LookupError, match="no token"):
        await peer.client(fail).__aenter__()


async def test_a_close_with_1013_in_place_of_the_greeting_is_an_attempt_that_failed(peer: Peer) -> None:
    peer.greetings = [{}, None, None, {}]
    failed: list[FailedAttempt] = []
    ends: list[int] = []
    client = peer.client(None)
    client.on_attempt_failed(failed.append)
    client.on_disconnect(lambda disconnect: ends.append(disconnect.code))
    async with client:
        await (await peer.accept()).close(1012)
        await peer.accept()
    assert [type(attempt.error) for attempt in failed] == [type(failed[0].error)] * 2
    assert isinstance(failed[0].error, WebSocketClosed)
    assert ends == [1012]


async def test_the_first_connection_raises_a_close_with_1013(peer: Peer) -> None:
    peer.greetings = [None]
    with pytest.raises(WebSocketClosed, match="1013"):
        await peer.client(None).__aenter__()


@pytest.mark.parametrize(("token", "attempts"), [("value", 1), (lambda: "new", 2)], ids=["value", "function"])
async def test_a_refusal_is_final(peer: Peer, token: Any, attempts: int) -> None:
    async with peer.client(token) as client:
        peer.refusal = 403
        await (await peer.accept()).close(1012)
        with pytest.raises(InvalidStatus, match="403"):
            async with asyncio.timeout(WAIT):
                await client.wait_closed()
    assert len(peer.tokens) == 1 + attempts
