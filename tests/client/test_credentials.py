"""What a client shows at each attempt: values and functions, and what goes wrong with them."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from django_etp.client import credentials as module
from django_etp.client.credentials import Credentials, TokenLogger


async def later(value: Any) -> Any:
    await asyncio.sleep(0)
    return value


def plain(value: Any) -> Callable[[], Any]:
    return lambda: value


def coroutine_function(value: Any) -> Callable[[], Awaitable[Any]]:
    async def give() -> Any:
        return await later(value)

    return give


def returns_awaitable(value: Any) -> Callable[[], Awaitable[Any]]:
    return lambda: later(value)


@pytest.mark.parametrize("as_source", [lambda value: value, plain, coroutine_function, returns_awaitable])
async def test_values_and_functions_of_all_kinds_become_headers(as_source: Callable[[Any], Any]) -> None:
    credentials = Credentials(as_source({"X-A": "1"}), as_source({"a": "1", "b": "2"}), as_source("abc"))
    pairs = [("X-A", "1"), ("Cookie", "a=1; b=2"), ("Authorization", "Bearer abc")]
    assert await credentials.pairs() == pairs
    assert await credentials.pairs() == pairs


@pytest.mark.parametrize("nothing", [None, ""])
async def test_nothing_becomes_no_header(nothing: Any) -> None:
    assert await Credentials([("X-A", "1")], None, nothing).pairs() == [("X-A", "1")]
    assert await Credentials((), plain({}), plain(nothing)).pairs() == []


@pytest.mark.parametrize("token", [1, b"abc", "a b", "abc\r\nX-Evil: 1", "\0"])
async def test_a_token_that_no_header_may_hold_is_refused_and_not_quoted(token: Any) -> None:
    with pytest.raises(ValueError, match="A token must be str without spaces") as raised:
        await Credentials((), None, token).pairs()
    assert "abc" not in str(raised.value)


async def test_what_a_function_raises_is_known_again() -> None:
    def fail() -> str:
        raise LookupError("no token")

    credentials = Credentials((), None, fail)
    with pytest.raises(LookupError) as raised:
        await credentials.pairs()
    assert credentials.caused(raised.value)
    assert not credentials.caused(LookupError("no token"))


async def test_a_function_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LIMIT", 0.01)

    async def hang() -> str:
        await asyncio.Event().wait()
        return ""

    with pytest.raises(TimeoutError):
        await Credentials((), None, hang).pairs()


@pytest.mark.parametrize(
    ("sources", "may_change", "have_token", "can_renew"),
    [
        (((), None, None), False, False, False),
        (((), None, "abc"), False, True, False),
        ((plain(()), None, "abc"), True, True, False),
        (((), plain({}), None), True, False, False),
        (((), None, plain("abc")), True, True, True),
    ],
)
def test_what_a_client_needs_to_know_of_them(sources: Any, may_change: bool, have_token: bool, can_renew: bool) -> None:
    credentials = Credentials(*sources)
    assert (credentials.may_change, credentials.have_token, credentials.can_renew) == (
        may_change,
        have_token,
        can_renew,
    )


def test_the_librarys_logger_has_no_debug(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    logger = TokenLogger(logging.getLogger("websockets.client"))
    logger.debug("> Authorization: Bearer abc")
    logger.info("connected")
    assert caplog.messages == ["connected"]
