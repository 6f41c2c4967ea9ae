"""The scope of a connection. test_both_classes.py compares it with uvicorn's own."""

import socket

from uvicorn.config import Config

from django_etp.uvicorn.handshake import Request
from django_etp.uvicorn.scope import describe, make_scope
from tests.support.transports import MemoryTransport

REQUEST = Request(b"/a%2Fb?q=%20", [(b"host", b"example.com")])


def scope_on(**extra: object) -> dict:
    config = Config("app", log_config=None)
    config.interface = "asgi3"
    return make_scope(REQUEST, MemoryTransport(**extra), config, {"started": 1})


def test_the_path_is_unquoted_and_the_query_is_not() -> None:
    scope = scope_on()
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/a/b", b"/a%2Fb", b"q=%20")
    assert describe(scope) == ("203.0.113.1:5", "/a/b?q=%20")


def test_the_state_is_a_copy_for_each_connection() -> None:
    assert scope_on()["state"] == {"started": 1}
    assert scope_on()["state"] is not scope_on()["state"]


def test_tls_and_ipv6_and_unix_sockets() -> None:
    assert scope_on()["scheme"] == "ws"
    assert scope_on(sslcontext=object())["scheme"] == "wss"
    one, other = socket.socketpair(socket.AF_UNIX)
    with one, other:
        scope = scope_on(socket=one)
    assert scope["client"] is None
    assert describe(scope)[0] == ""
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("::1", port)) as client, listener.accept()[0] as served:
            scope = scope_on(socket=served)
            assert scope["server"] == ("::1", port)
            assert scope["client"] == ("::1", client.getsockname()[1])
            assert describe(scope)[0] == f"::1:{client.getsockname()[1]}"
