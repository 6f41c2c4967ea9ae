"""The server that is examined."""

import pytest

from django_etp.client.probe import Refusal
from django_etp.doctor.target import InvalidTarget, make_target


@pytest.mark.parametrize(
    ("given", "url", "origin"),
    [
        ("wss://example.com/ws/", "wss://example.com/ws/", "https://example.com"),
        ("https://example.com:443/ws/", "wss://example.com:443/ws/", "https://example.com"),
        ("http://example.com:8000/ws/?a=1#x", "ws://example.com:8000/ws/?a=1", "http://example.com:8000"),
        ("ws://EXAMPLE.com", "ws://EXAMPLE.com/", "http://example.com"),
        ("ws://[::1]:8000/", "ws://[::1]:8000/", "http://[::1]:8000"),
    ],
)
def test_any_scheme_is_that_of_the_socket_and_the_pages_have_its_host(given: str, url: str, origin: str) -> None:
    target = make_target(given)
    assert (target.url, target.origin) == (url, origin)
    assert target.is_secure is url.startswith("wss")


@pytest.mark.parametrize(
    "url", ["example.com", "ftp://example.com/", "ws://", "ws:///ws/", "ws://a:b/", "ws://a:0/", ""]
)
def test_a_url_of_another_form_is_refused(url: str) -> None:
    with pytest.raises(InvalidTarget, match="Expected the address of the socket, such as"):
        make_target(url)


def test_the_origin_may_be_another_one() -> None:
    assert make_target("wss://ws.example.com/", origin="https://example.com/").origin == "https://example.com"


@pytest.mark.parametrize("origin", ["example.com", "wss://example.com", "https://example.com/page", "null", ""])
def test_an_origin_of_another_form_is_refused(origin: str) -> None:
    with pytest.raises(InvalidTarget, match="Expected the origin of the pages"):
        make_target("wss://example.com/", origin=origin)


async def test_a_target_that_nothing_listens_at_is_a_refusal(unused_tcp_port: int) -> None:
    refusal = await make_target(f"ws://127.0.0.1:{unused_tcp_port}/").open(None)
    assert isinstance(refusal, Refusal)
    assert refusal.status is None
