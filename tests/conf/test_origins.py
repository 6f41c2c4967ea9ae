"""Origins, and the patterns of ``ALLOWED_ORIGINS``; tests/server/test_origins.py has what they allow."""

import pytest

from django_etp.conf.origins import Origin, is_origin_pattern, parse_origin, parse_pattern


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://shop.test", Origin("https", "shop.test", 443)),
        ("HTTP://Shop.Test:8000", Origin("http", "shop.test", 8000)),
        ("http://[0:0::1]", Origin("http", "[::1]", 80)),
        ("chrome-extension://abcdef", Origin("chrome-extension", "abcdef", None)),
        ("null", None),
        ("shop.test", None),
        ("https://shop.test:0", None),
        ("https://shop.test/page", None),
    ],
)
def test_an_origin_is_a_scheme_a_host_and_a_port(text: str, origin: Origin | None) -> None:
    assert parse_origin(text) == origin


@pytest.mark.parametrize(
    ("pattern", "matching"),
    [
        ("shop.test", {"https://shop.test", "https://shop.test:8000", "http://shop.test"}),
        ("https://shop.test", {"https://shop.test"}),
        ("https://shop.test:*", {"https://shop.test", "https://shop.test:8000"}),
        ("shop.test:8000", {"https://shop.test:8000"}),
        (".shop.test", {"https://shop.test", "https://shop.test:8000", "http://shop.test", "https://a.shop.test"}),
        ("*.shop.test", {"https://a.shop.test"}),
    ],
)
def test_a_pattern_matches_by_scheme_host_and_port(pattern: str, matching: set[str]) -> None:
    parsed = parse_pattern(pattern)
    assert parsed is not None
    pages = [
        "https://shop.test",
        "https://shop.test:8000",
        "http://shop.test",
        "https://a.shop.test",
        "https://ashop.test",
        "wss://shop.test",
    ]
    origins = {page: parse_origin(page) for page in pages}
    assert {page for page, origin in origins.items() if origin and parsed.matches(origin, is_secure=False)} == matching


def test_without_a_scheme_a_pattern_matches_no_plain_page_of_a_handshake_by_tls() -> None:
    pattern, page = parse_pattern("shop.test"), parse_origin("http://shop.test")
    assert pattern is not None
    assert page is not None
    assert not pattern.matches(page, is_secure=True)


@pytest.mark.parametrize(
    "text",
    [
        "shop.test",
        "shop.test:8000",
        ".shop.test",
        "*.shop.test",
        "https://shop.test/",
        "HTTP://SHOP.TEST:*",
        "http://localhost:5173",
        "https://b\u00fccher.test",
        "[::1]:8000",
        "chrome-extension://abcdef",
        "capacitor://localhost",
        "tauri://localhost",
    ],
)
def test_an_entry_that_matches_some_page(text: str) -> None:
    assert is_origin_pattern(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "*",
        "null",
        "wss://shop.test",
        "htps://shop.test",
        "httpss://shop.test",
        "https:shop.test",
        "*shop.test",
        "https://shop.*.test",
        "shop.test,other.test",
        "shop.test ",
        "https://shop.test/page",
        "https://shop.test:0",
        "https://shop.test:65536",
        "https://ada@shop.test",
        "https://%73hop.test",
        "https://shop\x00.test",
        "https://b\u00fc\u2060cher!.test",
        "https://[fe80::1%eth0]",
        "https://[::1",
        "https://[shop]",
        "https://.",
    ],
)
def test_an_entry_that_matches_no_page_is_none(text: str) -> None:
    assert not is_origin_pattern(text)
