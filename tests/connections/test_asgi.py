"""Refusals and closes, and what is taken off the `send` of a consumer; what is put around it has real servers."""

import pytest
from channels.sessions import InstanceSessionWrapper

from django_etp.connections.asgi import (
    disconnect_of,
    past_session_middleware,
    refuse_for_now,
    refuse_in_drain,
    send_close,
    server_behind,
)
from django_etp.protocol.closing import Disconnect


async def send(message):
    """Stand for a server's."""


class Careful(InstanceSessionWrapper):
    """A project's own middleware."""

    async def send(self, message):
        await super().send(message)


def test_session_middleware_is_passed_by():
    assert past_session_middleware(InstanceSessionWrapper({"cookies": {}}, send).send) is send


def test_a_projects_own_session_middleware_stays():
    wrapped = Careful({"cookies": {}}, send).send
    assert past_session_middleware(wrapped) == wrapped


def test_a_servers_own_send_stays():
    assert past_session_middleware(send) is send


async def refused_for_now(extensions):
    sent = []

    async def keep(message):
        sent.append(message)

    await refuse_for_now({"extensions": extensions}, keep, "etp.ext.v1")
    return sent


async def test_passing_refusal_is_a_503_where_the_server_can_send_it():
    start, body = await refused_for_now({"websocket.http.response": {}})
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 503)
    assert dict(start["headers"])[b"content-length"] == str(len(body["body"])).encode()
    assert body["type"] == "websocket.http.response.body"


@pytest.mark.parametrize("extensions", [None, {}])
async def test_passing_refusal_is_an_accept_and_1013_elsewhere(extensions):
    accept, close = await refused_for_now(extensions)
    assert accept == {"type": "websocket.accept", "subprotocol": "etp.ext.v1"}
    assert (close["type"], close["code"]) == ("websocket.close", 1013)


async def test_a_close_that_is_refused_for_another_reason_is_raised():
    async def refuse(message):
        raise OSError

    with pytest.raises(OSError):  # noqa: PT011
        await send_close(refuse, {"type": "websocket.close", "code": 1000})


def test_a_disconnect_without_a_code_is_1005():
    assert disconnect_of({"type": "websocket.disconnect"}) == Disconnect(1005, "")
    assert disconnect_of({"type": "websocket.disconnect", "code": 1001, "reason": "bye"}) == Disconnect(1001, "bye")


async def refused_in_drain(first):
    sent = []

    async def receive():
        return {"type": first}

    async def keep(message):
        sent.append(message["type"])

    await refuse_in_drain({"extensions": {"websocket.http.response": {}}}, receive, keep)
    return sent


async def test_a_refusal_in_a_drain_is_a_503():
    assert await refused_in_drain("websocket.connect") == [
        "websocket.http.response.start",
        "websocket.http.response.body",
    ]


async def test_a_client_that_is_gone_is_not_refused():
    assert await refused_in_drain("websocket.disconnect") == []


def test_no_server_is_found_behind_a_middleware():
    assert server_behind(send) is None
