"""How large the messages of a client may be. Real servers and clients: `test_bad_peers.py`."""

from types import SimpleNamespace
from typing import Any

import pytest

from django_etp.exceptions import MessageTooLarge
from django_etp.server.message_size import check_size, limit_on_server


@pytest.mark.parametrize("data", ["x" * 10, b"x" * 10, "é" * 5, ""])
def test_a_message_up_to_the_limit_passes(data: str | bytes) -> None:
    check_size(data, 10)


@pytest.mark.parametrize("data", ["x" * 11, b"x" * 11, "é" * 5 + "x"])
def test_a_larger_message_is_refused_with_both_sizes(data: str | bytes) -> None:
    with pytest.raises(MessageTooLarge, match="at most 10 bytes, got 11"):
        check_size(data, 10)


def test_the_server_refuses_what_is_more_than_twice_too_large() -> None:
    class Server:
        conn = SimpleNamespace(max_message_size=2**24)

        async def send(self, message: dict[str, Any]) -> None:
            pass

    server = Server()
    limit_on_server(server.send, 2**20)
    assert server.conn.max_message_size == 2**21
