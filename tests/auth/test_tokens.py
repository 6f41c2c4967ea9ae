"""Where the token of a handshake is found, what is no token, and what is left of it."""

import base64
import traceback
from typing import Any

import pytest

from django_etp.auth.tokens import censored, is_token, take_tokens
from tests.support.tokens import offered

Headers = list[tuple[bytes, bytes]]


def scope(subprotocols: list[str] | None = None, headers: Headers | None = None, **keys: Any) -> dict[str, Any]:
    return {"subprotocols": subprotocols or [], "headers": headers or [], **keys}


@pytest.mark.parametrize("token", ["a", "abc.def-_~+/=", "x" * 8192, "schlüssel", "??>>"])
def test_a_subprotocol_holds_a_token(token: str) -> None:
    assert take_tokens(scope(["etp.ext.v1", offered(token)]))[1] == [token]


@pytest.mark.parametrize("value", [b"Bearer abc", b"bearer abc", b"Token abc", b"TOKEN   abc", b"Bearer\tabc "])
def test_a_header_holds_a_token(value: bytes) -> None:
    assert take_tokens(scope(headers=[(b"authorization", value)]))[1] == ["abc"]


@pytest.mark.parametrize(
    "encoded",
    [
        "",
        "a",
        "YWJj=",
        "YW Jj",
        "YW+j",
        "YW/j",
        "!!!!",
        "_w",
        "IA",
        "YSBi",
        "AA",
        base64.b64encode(b"x" * 10_000).decode(),
    ],
    ids=[
        "empty",
        "one letter",
        "padded",
        "space",
        "plus",
        "slash",
        "no base64",
        "no UTF-8",
        "a space",
        "two words",
        "NUL",
        "10 kB",
    ],
)
def test_a_subprotocol_without_a_readable_token_counts_as_one(encoded: str) -> None:
    assert take_tokens(scope([f"etp.token.{encoded.rstrip('=') if len(encoded) > 100 else encoded}"]))[1] == [None]


@pytest.mark.parametrize("value", [b"Bearer", b"Bearer ", b"Bearer a b", b"Token \xff", b"Bearer " + b"x" * 10_000])
def test_a_header_without_a_readable_token_counts_as_one(value: bytes) -> None:
    assert take_tokens(scope(headers=[(b"authorization", value)]))[1] == [None]


@pytest.mark.parametrize("value", [b"Basic YTpi", b"Tokens abc", b"Bearerabc", b""])
def test_another_scheme_is_no_token_and_stays(value: bytes) -> None:
    rest, tokens = take_tokens(scope(headers=[(b"authorization", value)]))
    assert (rest["headers"], tokens) == ([(b"authorization", value)], [])


def test_each_token_is_counted() -> None:
    headers = [(b"authorization", b"Bearer c"), (b"Authorization", b"Token d")]
    assert take_tokens(scope([offered("a"), offered("b")], headers))[1] == ["a", "b", "c", "d"]


def test_a_token_in_the_url_is_not_looked_for() -> None:
    assert take_tokens(scope(query_string=b"token=abc&access_token=abc", path="/ws/abc/"))[1] == []


def test_nothing_of_a_token_is_left_in_the_scope() -> None:
    names = ["etp.ext.v1", offered("abc"), "chat"]
    headers = [
        (b"host", b"testserver"),
        (b"sec-websocket-protocol", ", ".join(names).encode()),
        (b"sec-websocket-protocol", offered("def").encode()),
        (b"authorization", b"Bearer abc"),
    ]
    original = scope(names, headers)
    rest, _ = take_tokens(original)
    assert rest["subprotocols"] == ["etp.ext.v1", "chat"]
    assert rest["headers"] == [(b"host", b"testserver"), (b"sec-websocket-protocol", b"etp.ext.v1, chat")]
    assert original["subprotocols"] == names  # the scope belongs to the server


@pytest.mark.parametrize("value", ["", " ", "a b", "a\n", "\0", "x" * 8193])
def test_what_is_no_token(value: str) -> None:
    assert not is_token(value)


@pytest.mark.parametrize(
    "quote",
    [
        "{0}",
        "before {0} after",
        "{0:.20}…",
        "…{1}",
        "{2}",
    ],
    ids=["whole", "inside", "the beginning", "the end", "as it was offered"],
)
@pytest.mark.parametrize("token", ["eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjF9.c2ln", "abc", "schlüssel-für-alles"])
def test_a_line_that_quotes_the_token_is_left_out(token: str, quote: str) -> None:
    quoted = quote.format(token, token[-10:], offered(token))
    text = censored(f"first\n{quoted}\nlast", token)
    assert text == "first\n  (a line that quotes the token)\nlast"


def test_a_traceback_without_the_token_stays_as_it_is() -> None:
    try:
        raise ValueError("the database is gone")
    except ValueError as error:
        text = "".join(traceback.format_exception(error))
    assert censored(text, "eyJhbGciOiJIUzI1NiJ9") == text.rstrip("\n")
