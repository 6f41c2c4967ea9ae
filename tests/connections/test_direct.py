"""Which servers pass messages on by calls."""

from typing import Any

import pytest

from django_etp.connections.direct import server_of
from django_etp.uvicorn import Protocol
from tests.support.transports import Link

EXTENSIONS = {"extensions": {"django_etp.direct": {}}}


class Stock:
    """A server, or a middleware, that has both methods."""

    async def receive(self) -> dict[str, Any]:
        return {}

    async def send(self, message: dict[str, Any]) -> None:
        pass


def protocol() -> Protocol:
    return Link(lambda scope, receive, send: None).protocol


def test_our_own_class_does() -> None:
    ours = protocol()
    assert server_of(EXTENSIONS, ours.receive, ours.send) is ours


@pytest.mark.parametrize("scope", [{}, {"extensions": None}, {"extensions": {"websocket.http.response": {}}}])
def test_a_server_has_to_say_so(scope: dict[str, Any]) -> None:
    ours = protocol()
    assert server_of(scope, ours.receive, ours.send) is None


def test_a_middleware_that_wraps_a_method_sees_every_message() -> None:
    ours, stock = protocol(), Stock()

    async def wrapped(*args: Any) -> Any: ...

    assert server_of(EXTENSIONS, wrapped, ours.send) is None
    assert server_of(EXTENSIONS, ours.receive, wrapped) is None
    assert server_of(EXTENSIONS, wrapped, wrapped) is None
    assert server_of(EXTENSIONS, stock.receive, stock.send) is None
    assert server_of(EXTENSIONS, ours.receive, protocol().send) is None
