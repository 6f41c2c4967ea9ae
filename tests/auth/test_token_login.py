"""A login by a token: its expiry, and its renewal over the open socket."""

import asyncio
import json
import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User

from django_etp import Connection, Event, etp_event, on_connect
from django_etp.auth import authenticator as asking
from django_etp.auth import token_login as module
from django_etp.auth.revocation import check_connections
from django_etp.hub.process import serving_hub
from django_etp.testing import EtpCommunicator, HandshakeRejected
from tests.support.inprocess import until
from tests.support.tokens import ADA, BOB, Tokens, after

pytestmark = pytest.mark.usefixtures("etp_registry")

TOKEN = "s3cret-t0ken-of-ada"
NEXT = "s3cret-t0ken-that-follows"
DENIED = "permission_denied"


@pytest.fixture
def tokens() -> Tokens:
    return Tokens({TOKEN: (ADA, after(60)), NEXT: (ADA, after(600))})


async def greeting_of(client: EtpCommunicator) -> dict[str, Any]:
    greeting: dict[str, Any] = (await client.expect_event("__hello")).json()
    return greeting


async def renew(client: EtpCommunicator, data: object, ack_id: int = 5) -> Any:
    """Send a renewal, and return what the answer holds, or the code of the failure."""
    text = data if isinstance(data, str) else json.dumps(data)
    await client.send_frame(f"__auth||{ack_id}||{text}")
    name, number, answer = (await client.receive_frame()).split("||", 2)
    assert number == str(ack_id)
    if name == "__ack___auth":
        return json.loads(answer)
    assert name == "__err___auth"
    return json.loads(answer)["code"]


# The expiry


async def test_the_greeting_says_when_the_token_expires(tokens: Tokens) -> None:
    async with tokens.client(TOKEN) as client:
        greeting = await greeting_of(client)
        assert greeting.keys() == {"id", "expires_in"}
        assert 50 < greeting["expires_in"] <= 60


async def test_the_greeting_of_a_token_without_expiry_says_nothing_of_it(tokens: Tokens) -> None:
    tokens[TOKEN] = ADA, None
    async with tokens.client(TOKEN) as client:
        assert (await greeting_of(client)).keys() == {"id"}


@pytest.mark.parametrize("is_extended", [True, False])
async def test_the_connection_is_closed_when_its_token_expires(tokens: Tokens, is_extended: bool) -> None:
    tokens[TOKEN] = ADA, after(0.3)
    async with tokens.client(TOKEN, is_extended=is_extended) as client:
        close = await client.expect_close(4401)
        assert close.reason == "the token expired"
        assert tokens[TOKEN][1] <= datetime.now(UTC)


async def test_a_token_that_expires_during_on_connect_is_refused(tokens: Tokens) -> None:
    @on_connect
    async def wait(connection: Connection) -> None:
        await asyncio.Event().wait()

    tokens[TOKEN] = ADA, after(0.1)
    with pytest.raises(HandshakeRejected) as refused:
        await tokens.client(TOKEN).connect()
    assert refused.value.status == 403


async def test_the_clock_is_looked_at_now_and_then(tokens: Tokens, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock may be set, and a machine that sleeps does not count the time."""
    monkeypatch.setattr(module, "_LOOK_EVERY", 0.01)
    async with tokens.client(TOKEN) as client:
        await greeting_of(client)
        await client.expect_nothing(timeout=0.05)
        [peer] = serving_hub().membership.all()
        login = module.token_login_of(peer.scope)  # type: ignore[attr-defined]
        assert login is not None
        login._grant = asking.Grant(ADA, after(0))
        await client.expect_close(4401)


async def test_the_end_of_the_connection_ends_the_watch(tokens: Tokens) -> None:
    async with tokens.client(TOKEN) as client:
        [peer] = serving_hub().membership.all()
        login = module.token_login_of(peer.scope)  # type: ignore[attr-defined]
        assert login is not None
        timer = login._timer
        assert timer is not None
        assert not timer.cancelled()
        await client.disconnect()
        assert timer.cancelled()
        assert login._timer is None


# The renewal


@pytest.mark.parametrize("extensions", ["etp.ext.v1", "etp.ext.v2"])
async def test_a_renewal_moves_the_expiry(tokens: Tokens, extensions: str) -> None:
    tokens[TOKEN] = ADA, after(0.5)
    async with tokens.client(TOKEN, extensions=extensions) as client:
        assert client.subprotocol == extensions
        await greeting_of(client)
        assert 500 < (await renew(client, {"token": NEXT}))["expires_in"] <= 600
        await client.expect_nothing(timeout=0.6)


async def test_a_renewal_may_bring_an_expiry_or_take_it_away(tokens: Tokens) -> None:
    tokens |= {TOKEN: (ADA, None), "forever": (ADA, None)}
    async with tokens.client(TOKEN) as client:
        await greeting_of(client)
        assert (await renew(client, {"token": NEXT})).keys() == {"expires_in"}
        assert await renew(client, {"token": "forever"}) == {}
        tokens[NEXT] = ADA, after(0.1)
        await renew(client, {"token": NEXT})
        await client.expect_close(4401)


async def test_a_renewal_that_wants_no_answer_gets_none(tokens: Tokens) -> None:
    async with tokens.client(TOKEN) as client:
        await greeting_of(client)
        await client.send_frame(f'__auth||0||{{"token": "{NEXT}"}}')
        await client.send_frame('__auth||0||{"token": "wrong"}')
        assert (await renew(client, {"token": NEXT}, ack_id=-3)).keys() == {"expires_in"}


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (None, DENIED),
        ((ADA, after(-1)), DENIED),
        ((BOB, None), DENIED),
        ((AnonymousUser(), None), DENIED),
        (ValueError(NEXT), "handler_error"),
        ((ADA, datetime.now() + timedelta(hours=1)), "handler_error"),
        (NEXT, "handler_error"),
    ],
    ids=["refused", "in the past", "another user's", "nobody's", "it raises", "naive datetime", "no pair"],
)
async def test_a_refused_renewal_leaves_the_old_expiry(
    tokens: Tokens, answer: Any, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    tokens |= {TOKEN: (ADA, after(0.5)), NEXT: answer}
    async with tokens.client(TOKEN) as client:
        await greeting_of(client)
        assert await renew(client, {"token": NEXT}) == code
        await client.expect_close(4401)
    assert NEXT not in caplog.text


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ("", "invalid_payload"),
        ("no JSON " + NEXT, "invalid_payload"),
        ([NEXT], "invalid_payload"),
        ({"tokens": NEXT}, "invalid_payload"),
        ({"token": None}, "invalid_payload"),
        ({"token": 1}, "invalid_payload"),
        ({"token": ""}, DENIED),
        ({"token": "x" * 10_000}, DENIED),
        ({"token": "a\n\0"}, DENIED),
        ({"token": "\ud800"}, DENIED),
    ],
    ids=str,
)
async def test_a_malformed_renewal_is_refused(
    tokens: Tokens, data: object, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with tokens.client(TOKEN) as client:
        await greeting_of(client)
        assert await renew(client, data) == code
        assert (await renew(client, {"token": NEXT}))["expires_in"] > 500
    assert NEXT not in caplog.text


async def test_an_object_of_another_kind_with_the_same_key_is_another_user(tokens: Tokens) -> None:
    class Device:
        pk = ADA.pk

    tokens[NEXT] = Device(), after(600)
    async with tokens.client(TOKEN) as client:
        await greeting_of(client)
        assert await renew(client, {"token": NEXT}) == DENIED


async def test_another_object_of_the_same_user_is_the_same_user(tokens: Tokens) -> None:
    class Member(User):
        class Meta:
            proxy = True
            app_label = "auth"

    tokens[NEXT] = Member(pk=str(ADA.pk)), None
    async with tokens.client(TOKEN) as client:
        await greeting_of(client)
        assert await renew(client, {"token": NEXT}) == {}


async def test_no_token_renews_a_connection_that_a_handler_has_given_to_another_user(tokens: Tokens) -> None:
    @etp_event("become")
    async def become(connection: Connection, event: Event) -> None:
        connection.scope["user"] = BOB if event.data == "bob" else AnonymousUser()

    tokens["of-bob"] = BOB, None
    for other in ("bob", "nobody"):
        async with tokens.client(TOKEN) as client:
            await greeting_of(client)
            await client.emit_with_ack("become", other)
            assert await renew(client, {"token": NEXT}) == DENIED
            assert await renew(client, {"token": "of-bob"}) == DENIED


async def test_a_renewal_does_not_wait_for_handlers(tokens: Tokens, settings: Any) -> None:
    settings.ETP = {"MAX_CONCURRENT_EVENTS": 1, "MAX_QUEUED_EVENTS": 1}
    door = asyncio.Event()

    @etp_event("wait")
    async def wait(connection: Connection, event: Event) -> None:
        await door.wait()

    async with tokens.client(TOKEN) as client:
        await greeting_of(client)
        await client.emit("wait")
        await client.emit("wait")
        assert (await renew(client, {"token": NEXT})).keys() == {"expires_in"}
        door.set()


async def test_renewals_are_handled_in_order_and_too_many_are_refused() -> None:
    door = asyncio.Event()
    asked: list[str] = []

    class Waiting(Tokens):
        async def authenticate(self, token: str, scope: dict[str, Any]) -> Any:
            if token != TOKEN:
                asked.append(token)
                await door.wait()
            return ADA, after(60)

    async with Waiting().client(TOKEN) as client:
        await greeting_of(client)
        for number in range(1, 21):
            await client.send_frame(f'__auth||{number}||{{"token": "token-{number}"}}')
        refused = [(await client.receive_frame()).split("||", 2) for _ in range(12)]
        assert [name for name, _, _ in refused] == ["__err___auth"] * 12
        assert {json.loads(data)["code"] for _, _, data in refused} == {"rate_limited"}
        assert asked == ["token-1"]
        door.set()
        answered = [(await client.receive_frame()).split("||", 2)[:2] for _ in range(8)]
        assert answered == [["__ack___auth", str(number)] for number in range(1, 9)]


async def test_a_plain_client_s_renewal_is_an_unknown_event(tokens: Tokens) -> None:
    tokens[TOKEN] = ADA, after(0.4)
    async with tokens.client(TOKEN, is_extended=False) as client:
        await client.send_frame(f'__auth||1||{{"token": "{NEXT}"}}')
        assert await client.receive_frame() == "__ack___auth||1"
        await client.expect_close(4401)


async def test_a_connection_without_a_token_cannot_be_renewed(tokens: Tokens) -> None:
    async with tokens.client(user=ADA, session={}) as client:
        await greeting_of(client)
        assert await renew(client, {"token": NEXT}) == "unknown_event"


async def test_a_renewal_of_a_connection_that_has_gone_changes_nothing() -> None:
    door = asyncio.Event()
    asked: list[str] = []

    class Waiting(Tokens):
        async def authenticate(self, token: str, scope: dict[str, Any]) -> Any:
            asked.append(token)
            if token != TOKEN:
                await door.wait()
            return ADA, after(60)

    async with Waiting().client(TOKEN) as client:
        [peer] = serving_hub().membership.all()
        login = module.token_login_of(peer.scope)  # type: ignore[attr-defined]
        assert login is not None
        await client.send_frame(f'__auth||1||{{"token": "{NEXT}"}}')
        await until(lambda: len(asked) == 2)
        await client.disconnect()
        door.set()
        await until(lambda: not login._waiting)
        assert login._timer is None


# The end of the user


@pytest.mark.usefixtures("etp_communicator")
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("change", ["is_active", "delete", "password", "nothing"])
async def test_a_user_who_is_gone_is_closed_as_one_with_a_session_is(tokens: Tokens, change: str) -> None:
    user = await User.objects.acreate(username="ann")
    tokens[TOKEN] = user, after(600)
    async with tokens.client(TOKEN) as client:
        await greeting_of(client)
        if change == "is_active":
            await User.objects.aupdate(is_active=False)
        elif change == "delete":
            await User.objects.all().adelete()
        elif change == "password":
            await User.objects.aupdate(password="another")
        await check_connections(serving_hub().membership.all())
        if change in ("is_active", "delete"):
            assert (await client.expect_close(4401)).reason == "the user was deleted or deactivated"
        else:  # no token of a session depends on the password
            await client.expect_nothing()
