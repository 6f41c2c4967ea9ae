"""`TokenAuthMiddleware`: who is let in with which token, as whom, and what is seen of the token."""

import asyncio
import logging
from typing import Any

import pytest
from channels.auth import AuthMiddlewareStack
from django.contrib.auth.models import AnonymousUser

from django_etp import Connection, Event, EventFailed, etp_event, on_connect, on_error, on_unknown_event, rooms
from django_etp.auth import TokenAuthMiddleware, authenticator
from django_etp.consumers import EtpConsumer
from django_etp.testing import EtpCommunicator, HandshakeRejected
from tests.support.inprocess import Wire
from tests.support.tokens import ADA, BOB, EXTENSIONS, Tokens, after, offered

pytestmark = pytest.mark.usefixtures("etp_registry")

TOKEN = "s3cret-t0ken-of-ada"
OF_BOB = "s3cret-t0ken-of-bob"


@pytest.fixture
def tokens() -> Tokens:
    return Tokens({TOKEN: (ADA, None), OF_BOB: (BOB, None)})


@pytest.fixture
def seen() -> list[Connection]:
    """The connections that on_connect was called with."""
    connections: list[Connection] = []

    @on_connect
    async def note(connection: Connection) -> None:
        connections.append(connection)

    return connections


async def status_of(client: EtpCommunicator) -> int:
    with pytest.raises(HandshakeRejected) as refused:
        await client.connect()
    return refused.value.status


async def test_a_token_logs_its_user_in(tokens: Tokens, seen: list[Connection]) -> None:
    async with tokens.client(TOKEN), tokens.client(OF_BOB):
        assert [connection.user for connection in seen] == [ADA, BOB]
        await seen[0].ajoin("lobby")
        assert [info.user_id for info in await rooms.amembers("lobby")] == [ADA.pk]
        assert await rooms.acount(rooms.user(BOB)) == 1


@pytest.mark.parametrize("scheme", ["Bearer", "Token", "bearer"])
async def test_a_header_does_as_well(tokens: Tokens, seen: list[Connection], scheme: str) -> None:
    async with tokens.client(headers=[("Authorization", f"{scheme} {TOKEN}")]):
        assert seen[0].user is ADA


async def test_the_token_is_never_selected_as_the_subprotocol(tokens: Tokens) -> None:
    async with tokens.client(TOKEN) as client:
        assert client.subprotocol == EXTENSIONS
    async with tokens.client(TOKEN, is_extended=False) as client:
        assert client.subprotocol is None


async def test_nothing_of_the_token_is_in_what_handlers_see_and_logs_hold(
    tokens: Tokens, seen: list[Connection], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    @etp_event("fail")
    async def fail(connection: Connection, event: Event) -> None:
        raise ValueError(repr(connection.scope))

    secrets = [TOKEN, offered(TOKEN), OF_BOB, offered(OF_BOB)]
    names = ", ".join([EXTENSIONS, offered(TOKEN)])
    async with (
        tokens.client(TOKEN, headers=[("Sec-WebSocket-Protocol", names)]) as client,
        tokens.client(headers=[("Authorization", f"Bearer {OF_BOB}")]),
    ):
        await client.expect_event("__hello")
        with pytest.raises(EventFailed):
            await client.emit_with_ack("fail")
        scopes = repr([connection.scope for connection in seen])
    assert await status_of(tokens.client(f"{TOKEN}-and-more")) == 403
    assert "ValueError" in caplog.text
    assert [secret for secret in secrets if secret in caplog.text or secret in scopes] == []


async def test_a_session_of_the_browser_does_not_come_with_the_token(tokens: Tokens, seen: list[Connection]) -> None:
    """It may be another user's."""
    async with tokens.client(TOKEN, session={"a": 1}, user=BOB):
        assert seen[0].user is ADA
        assert seen[0].session is None
        seen[0].data["kept"] = "in memory"


# Without a token


@pytest.mark.parametrize("path", ["/ws/", f"/ws/?token={TOKEN}&access_token={TOKEN}"])
async def test_no_token_is_refused(tokens: Tokens, seen: list[Connection], path: str) -> None:
    assert await status_of(tokens.client(path=path)) == 403
    assert seen == []


@pytest.mark.parametrize("user", [AnonymousUser(), BOB])
async def test_no_token_is_let_in_as_the_user_that_another_middleware_found(
    tokens: Tokens, seen: list[Connection], user: Any
) -> None:
    async with tokens.client(user=user, session={}):
        assert seen[0].user is user


@pytest.mark.django_db
async def test_inside_the_auth_middleware_clients_with_cookies_and_with_tokens_share_a_path(
    tokens: Tokens, seen: list[Connection]
) -> None:
    consumer = EtpConsumer.as_asgi()
    inside = AuthMiddlewareStack(TokenAuthMiddleware(consumer, authenticate=tokens.authenticate))
    async with EtpCommunicator(inside), EtpCommunicator(inside, subprotocols=[offered(TOKEN)]):
        assert [connection.user.is_authenticated for connection in seen] == [False, True]
    around = TokenAuthMiddleware(AuthMiddlewareStack(consumer), authenticate=tokens.authenticate)
    async with EtpCommunicator(around, subprotocols=[offered(TOKEN)]):
        assert seen[2].user is ADA


# Refused


@pytest.mark.parametrize(
    "names",
    [
        [offered("")],
        [offered("unknown")],
        [offered("x" * 10_000)],
        ["etp.token.###"],
        [offered(TOKEN), offered(TOKEN)],
        [offered(TOKEN), offered(OF_BOB)],
        [offered("unknown"), offered(TOKEN)],
    ],
    ids=["empty", "unknown", "10 kB", "no base64", "twice", "two", "one of two"],
)
async def test_a_handshake_without_one_good_token_is_refused(
    tokens: Tokens, seen: list[Connection], names: list[str]
) -> None:
    application = TokenAuthMiddleware(EtpConsumer.as_asgi(), authenticate=tokens.authenticate)
    assert await status_of(EtpCommunicator(application, subprotocols=names, user=BOB)) == 403
    assert seen == []


async def test_a_header_beside_a_subprotocol_is_one_token_too_many(tokens: Tokens) -> None:
    assert await status_of(tokens.client(TOKEN, headers=[("Authorization", f"Bearer {TOKEN}")])) == 403


async def test_a_password_of_a_proxy_is_no_token(tokens: Tokens, seen: list[Connection]) -> None:
    async with tokens.client(TOKEN, headers=[("Authorization", "Basic YTpi")]):
        assert seen[0].user is ADA


async def test_an_expiry_in_the_past_is_refused(tokens: Tokens) -> None:
    tokens[TOKEN] = ADA, after(-1)
    assert await status_of(tokens.client(TOKEN)) == 403


async def test_a_refusal_is_logged_with_its_reason(tokens: Tokens, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for client in (tokens.client(), tokens.client(""), tokens.client("unknown")):
        await status_of(client)
    assert [record.getMessage().rpartition(": ")[2] for record in caplog.records] == [
        "it has 0 tokens, and must have one.",
        "its token cannot be read.",
        "its token was not accepted.",
    ]
    assert {record.levelname for record in caplog.records} == {"INFO"}


# No verdict


@pytest.mark.parametrize("answer", [ValueError(TOKEN), TOKEN, (ADA,), (ADA, "soon")], ids=str)
async def test_an_authenticate_function_that_fails_is_a_passing_fault(
    tokens: Tokens, seen: list[Connection], answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    tokens[TOKEN] = answer
    assert await status_of(tokens.client(TOKEN)) == 503
    assert seen == []
    assert "The authenticate function failed" in caplog.text
    assert TOKEN not in caplog.text


@pytest.mark.parametrize("extensions", ["etp.ext.v1", "etp.ext.v2"])
async def test_a_passing_fault_is_1013_where_the_server_can_send_no_status(tokens: Tokens, extensions: str) -> None:
    tokens[TOKEN] = ValueError()
    wire = Wire(subprotocols=[extensions, offered(TOKEN)])
    wire.application = TokenAuthMiddleware(EtpConsumer.as_asgi(), authenticate=tokens.authenticate)
    wire.start()
    assert await wire.next() == {"type": "websocket.accept", "subprotocol": extensions}
    assert (await wire.next())["code"] == 1013
    await wire.ended()


async def test_the_check_of_a_token_and_on_connect_share_the_time_of_a_handshake(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def ask(token: str, scope: dict[str, Any]) -> Any:
        await asyncio.sleep(0.2)
        return ADA, None

    limits: list[float] = []
    timeout = asyncio.timeout

    def note(delay: float) -> Any:
        limits.append(delay)
        return timeout(delay)

    @on_connect
    async def wait(connection: Connection) -> None:
        """Take no time."""

    from django_etp.server import handshake

    application = TokenAuthMiddleware(EtpConsumer.as_asgi(), authenticate=ask)
    monkeypatch.setattr(handshake.asyncio, "timeout", note)
    async with EtpCommunicator(application, subprotocols=[offered(TOKEN)]):
        assert any(authenticator.LIMIT - 1 < limit < authenticator.LIMIT - 0.19 for limit in limits)


# What is none of its business


async def test_other_applications_are_served_as_they_are(tokens: Tokens) -> None:
    scopes: list[dict[str, Any]] = []

    async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
        scopes.append(scope)

    scope = {"type": "http", "headers": [(b"authorization", f"Bearer {TOKEN}".encode())]}
    await TokenAuthMiddleware(application, authenticate=tokens.authenticate)(scope, None, None)  # type: ignore[arg-type]
    assert scopes == [scope]


async def test_what_is_no_function_is_refused_when_the_project_starts() -> None:
    with pytest.raises(TypeError, match="must be a function"):
        TokenAuthMiddleware(EtpConsumer.as_asgi(), authenticate=None)  # type: ignore[arg-type]


@pytest.mark.parametrize("origin", ["https://evil.example", "null"])
async def test_a_page_of_another_origin_is_refused_with_a_token_too(
    tokens: Tokens, seen: list[Connection], origin: str, settings: Any
) -> None:
    assert await status_of(tokens.client(TOKEN, origin=origin)) == 403
    assert seen == []
    settings.ETP = {"ALLOWED_ORIGINS": ["https://evil.example"]}
    if origin != "null":
        async with tokens.client(TOKEN, origin=origin):
            assert seen[0].user is ADA


async def test_a_renewal_with_no_middleware_is_an_unknown_event() -> None:
    names: list[str] = []
    failed: list[BaseException] = []
    on_error(lambda connection, error: failed.append(error))
    async with EtpCommunicator(user=ADA, subprotocols=[EXTENSIONS]) as client:
        await client.expect_event("__hello")
        await client.send_frame(f'__auth||1||{{"token": "{TOKEN}"}}')
        assert (await client.receive_frame()).startswith('__err___auth||1||{"code":"unknown_event"')

    on_unknown_event(lambda connection, event: names.append(event.name))
    async with EtpCommunicator(user=ADA) as plain:
        await plain.send_frame(f'__auth||1||{{"token": "{TOKEN}"}}')
        assert await plain.receive_frame() == "__ack___auth||1"
    assert names == ["__auth"]
