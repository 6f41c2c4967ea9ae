"""The ASGI edge: what a route may say, and classes of the project's own."""

from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import ImproperlyConfigured

from django_etp import Connection, Event, etp_event, on_connect
from django_etp.consumers import EtpConsumer
from django_etp.testing import EtpCommunicator
from tests.support.frames import frame
from tests.support.inprocess import Wire
from tests.support.transports import Link

pytestmark = pytest.mark.usefixtures("etp_registry")


async def test_only_websockets_are_served() -> None:
    with pytest.raises(ValueError, match="'http'"):
        await EtpConsumer.as_asgi()({"type": "http", "headers": []}, None, None)


@pytest.mark.parametrize(
    "value",
    [
        ["*"],
        "https://shop.test",
        True,
        ["https://*"],
        ["*:443"],
        ["https://"],
        ["https//shop.test"],
        ["https://shop.test/page"],
        ["https://shop.test:port"],
        ["https://ada@shop.test"],
    ],
)
def test_a_rule_for_origins_that_would_not_do_what_it_says_is_refused_at_once(value: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match=r'allowed_origins must be None, "." by itself, or a list'):
        EtpConsumer.as_asgi(allowed_origins=value)


@pytest.mark.parametrize("value", ["access_token", None, 5, ["a b"], [""], [b"a"], ["etp.ext.v1"], ["etp.token.abc"]])
def test_subprotocols_that_are_none_are_refused_at_once(value: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match="subprotocols must be a list of names"):
        EtpConsumer.as_asgi(subprotocols=value)


async def test_the_namespace_of_a_route_has_hooks_of_its_own() -> None:
    ran: list[str] = []
    on_connect(lambda connection: ran.append("default"))
    on_connect(lambda connection: ran.append(connection.namespace), namespace="game")
    async with Wire(namespace="game"):
        pass
    assert ran == ["game"]


async def test_a_class_of_the_projects_own_works_like_ours() -> None:
    class GameConsumer(EtpConsumer):
        pass

    async with EtpCommunicator(GameConsumer.as_asgi(), user=AnonymousUser()) as client:
        assert (await client.emit_with_ack("unknown")).data == ""


async def test_a_class_of_the_projects_own_may_extend_ours() -> None:
    scopes = []

    class StaffConsumer(EtpConsumer):
        def __init__(self, greeting: str, **options: Any) -> None:
            super().__init__(namespace="staff", **options)
            self.greeting = greeting

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            scopes.append(scope)
            await super().__call__({**scope, "greeting": self.greeting}, receive, send)

    etp_event("greet", namespace="staff")(lambda connection, event: connection.scope["greeting"])
    application = StaffConsumer.as_asgi("hello", allowed_origins="*")
    async with EtpCommunicator(application, user=AnonymousUser()) as client:
        assert (await client.emit_with_ack("greet")).data == "hello"
    assert len(scopes) == 1


@pytest.mark.parametrize("is_own", [False, True], ids=["ours", "own"])
async def test_a_route_takes_its_arguments_by_position_too(is_own: bool) -> None:
    class GameConsumer(EtpConsumer):
        pass

    etp_event("play", namespace="game")(lambda connection, event: "played")
    application = (GameConsumer if is_own else EtpConsumer).as_asgi("game", "*")
    async with EtpCommunicator(application, user=AnonymousUser(), origin="https://elsewhere.test") as client:
        assert (await client.emit_with_ack("play")).data == "played"


async def test_under_our_own_class_for_uvicorn_events_are_passed_on_by_calls() -> None:
    @etp_event("hello")
    async def hello(connection: Connection, event: Event) -> str:
        await connection.aemit("first")
        return event.data

    link = await Link(EtpConsumer.as_asgi()).open()
    await link.until(lambda: link.protocol._incoming._passed is not None)
    link.send_text("hello||1||x")
    await link.until(lambda: link.transport.writes)
    assert link.frames == [(0x81, b"first||0"), (0x81, b"__ack_hello||1||x")]
    assert len(link.transport.writes) == 1
    link.send(frame(8, (1000).to_bytes(2, "big")))
    await link.ended()
