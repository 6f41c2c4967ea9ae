"""The check of a handshake's Origin header, rule by rule."""

from typing import Any

import pytest

from django_etp.server.origins import is_origin_allowed


def allowed(
    origin: str | None,
    host: str = "testserver",
    rule: Any = None,
    *,
    scheme: str = "ws",
    more: tuple[tuple[bytes, bytes], ...] = (),
) -> bool:
    headers = [(b"host", host.encode("latin-1"))]
    if origin is not None:
        headers.append((b"origin", origin.encode("latin-1")))
    return is_origin_allowed({"scheme": scheme, "headers": [*headers, *more]}, rule)


@pytest.mark.parametrize("rule", [None, "*", [], ["https://example.com"]])
def test_without_an_origin_every_handshake_passes(settings: Any, rule: Any) -> None:
    settings.ALLOWED_HOSTS = []
    assert allowed(None, rule=rule)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://shop.test", "shop.test"),
        ("https://shop.test", "shop.test"),
        ("https://SHOP.test", "shop.TEST"),
        ("http://shop.test:8000", "shop.test:8000"),
        ("http://shop.test:80", "shop.test"),
        ("https://shop.test", "shop.test:443"),
        ("https://shop.test:443", "shop.test"),
        ("http://127.0.0.1:8000", "127.0.0.1:8000"),
        ("http://[::1]:8000", "[::1]:8000"),
        ("http://[::1]", "[::1]"),
    ],
)
def test_a_page_of_the_same_host_passes(settings: Any, origin: str, host: str) -> None:
    settings.ALLOWED_HOSTS = []
    assert allowed(origin, host)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://evil.test", "shop.test"),
        ("http://shop.test.evil.test", "shop.test"),
        ("http://evilshop.test", "shop.test"),
        ("http://sub.shop.test", "shop.test"),
        ("http://shop.test:8001", "shop.test:8000"),
        ("http://shop.test:8000", "shop.test"),
        ("http://shop.test", "shop.test:8000"),
        ("https://shop.test", "shop.test:80"),
        ("http://[::2]", "[::1]"),
    ],
)
def test_a_page_of_another_host_or_port_is_refused(settings: Any, origin: str, host: str) -> None:
    settings.ALLOWED_HOSTS = []
    assert not allowed(origin, host)


NO_ORIGINS = [
    "",
    "null",
    "testserver",
    "//testserver",
    "http:testserver",
    "http://",
    "http://:80",
    "http://testserver:port",
    "http://testserver:99999",
    "http://testserver/path",
    "http://testserver/",
    "http://testserver?query",
    "http://testserver#fragment",
    "http://user@testserver",
    "http://evil.test\\@testserver",
    "http://[::1",
    "http://testserver, http://evil.test",
    "http://testserver:0",
    "http://test\tserver",
    "http://testserver\n",
    " http://testserver",
    "\x00http://testserver",
    "http://testserver%2eevil.test",
    "http://testserver:80:80",
    "http://[testserver]",
    "http://[::1%lo]",
    "http://t\xe4stserver",
    "file://",
    "*",
    "\xe4\xf6\xfc",
]


@pytest.mark.parametrize("origin", NO_ORIGINS)
@pytest.mark.parametrize("rule", [None, ["testserver", "null", "*"], []])
def test_what_is_no_origin_is_refused(settings: Any, origin: str, rule: Any) -> None:
    settings.ALLOWED_HOSTS = ["*", "testserver"]
    assert not allowed(origin, rule=rule)


@pytest.mark.parametrize("origin", [*NO_ORIGINS, "http://evil.test"])
def test_a_star_as_the_rule_passes_whatever_comes(origin: str) -> None:
    assert allowed(origin, rule="*")


def test_a_star_in_the_allowed_hosts_does_not_allow_every_origin(settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    assert not allowed("http://evil.test", "shop.test")
    assert allowed("http://shop.test", "shop.test")


def test_a_star_in_a_list_of_origins_allows_no_origin() -> None:
    assert not allowed("http://evil.test", rule=["*"])


@pytest.mark.parametrize(
    ("origin", "is_allowed"),
    [
        ("http://shop.test", True),
        ("https://shop.test", True),
        ("http://shop.test:8000", True),
        ("http://SHOP.TEST", True),
        ("http://sub.shop.test", False),
        ("http://wild.test", True),
        ("http://sub.wild.test:81", True),
        ("http://sub.sub.wild.test", True),
        ("http://evilwild.test", False),
        ("http://[2001:db8::1]:8000", True),
        ("http://evil.test", False),
    ],
)
def test_pages_of_the_allowed_hosts_pass_on_any_port(settings: Any, origin: str, is_allowed: bool) -> None:
    settings.ALLOWED_HOSTS = ["shop.test", ".wild.test", "[2001:db8::1]"]
    assert allowed(origin, "internal:9000") is is_allowed


@pytest.mark.parametrize(
    "origin", ["http://localhost:5173", "http://app.localhost", "http://127.0.0.1", "http://[::1]:1"]
)
@pytest.mark.parametrize("debug", [True, False])
def test_pages_of_this_machine_pass_in_debug_mode_without_allowed_hosts(
    settings: Any, origin: str, debug: bool
) -> None:
    settings.DEBUG, settings.ALLOWED_HOSTS = debug, []
    assert allowed(origin, "shop.test") is debug


@pytest.mark.parametrize("debug", [True, False])
def test_pages_of_this_machine_pass_in_debug_mode_where_a_star_allows_every_host(settings: Any, debug: bool) -> None:
    settings.DEBUG, settings.ALLOWED_HOSTS = debug, ["*"]
    assert allowed("http://localhost:5173", "localhost:8000") is debug


@pytest.mark.parametrize(
    ("debug", "hosts", "is_allowed"),
    [
        (False, ["shop.test"], False),
        (True, ["shop.test"], False),
        (True, [], False),
        (False, ["*"], True),
        (False, [".rebound.test"], True),
    ],
)
def test_a_page_of_a_host_that_django_does_not_serve_is_refused(
    settings: Any, debug: bool, hosts: list[str], is_allowed: bool
) -> None:
    settings.DEBUG, settings.ALLOWED_HOSTS = debug, hosts
    assert allowed("http://rebound.test:8000", "rebound.test:8000") is is_allowed


@pytest.mark.parametrize("rule", [None, ["shop.test"], [".shop.test"], ["shop.test:80", "shop.test:443"]])
@pytest.mark.parametrize(
    ("origin", "scheme", "is_allowed"),
    [
        ("https://shop.test", "wss", True),
        ("https://shop.test", "ws", True),  # behind a proxy that speaks TLS
        ("http://shop.test", "ws", True),
        ("http://shop.test", "wss", False),
        ("ftp://shop.test", "ws", False),
        ("chrome-extension://shop.test", "ws", False),
    ],
)
def test_a_rule_without_a_scheme_means_pages_as_safe_as_the_handshake(
    settings: Any, rule: Any, origin: str, scheme: str, is_allowed: bool
) -> None:
    settings.ALLOWED_HOSTS = ["shop.test"]
    assert allowed(origin, "shop.test", rule, scheme=scheme) is is_allowed


@pytest.mark.parametrize(
    ("header", "scheme", "is_allowed"),
    [
        (b"https", "ws", False),
        (b"https, http", "ws", False),
        (b"http", "ws", True),
        (b"http", "wss", True),
        (None, "ws", True),
        (None, "wss", False),
    ],
)
def test_a_plain_page_is_refused_if_a_proxy_says_that_the_handshake_came_by_tls(
    settings: Any, header: bytes | None, scheme: str, is_allowed: bool
) -> None:
    settings.ALLOWED_HOSTS = ["shop.test"]
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    more = () if header is None else ((b"x-forwarded-proto", header),)
    assert allowed("http://shop.test", "shop.test", scheme=scheme, more=more) is is_allowed
    assert allowed("https://shop.test", "shop.test", scheme=scheme, more=more)


def test_a_header_of_a_proxy_means_nothing_without_the_setting(settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["shop.test"]
    assert allowed("http://shop.test", "shop.test", more=((b"x-forwarded-proto", b"https"),))


def test_a_rule_with_a_scheme_means_that_scheme_over_tls_too() -> None:
    assert allowed("http://shop.test", rule=["http://shop.test"], scheme="wss")


def test_pages_of_this_machine_do_not_pass_in_debug_mode_with_allowed_hosts(settings: Any) -> None:
    settings.DEBUG, settings.ALLOWED_HOSTS = True, ["shop.test"]
    assert not allowed("http://localhost:5173", "shop.test")


@pytest.mark.parametrize(
    ("rule", "origin", "is_allowed"),
    [
        ("https://shop.test", "https://shop.test", True),
        ("https://shop.test", "https://shop.test:443", True),
        ("https://shop.test:443", "https://shop.test", True),
        ("https://shop.test/", "https://shop.test", True),
        ("HTTPS://Shop.Test", "https://shop.test", True),
        ("https://shop.test", "http://shop.test", False),
        ("https://shop.test", "https://shop.test:8443", False),
        ("https://shop.test:8443", "https://shop.test:8443", True),
        ("https://shop.test:8443", "https://shop.test", False),
        ("https://shop.test", "https://sub.shop.test", False),
        ("https://SHOP.test/", "https://shop.test", True),
        ("https://*.shop.test", "https://sub.shop.test", True),
        ("https://*.shop.test", "http://sub.shop.test", False),
        ("https://*.shop.test", "https://evilshop.test", False),
        ("https://.shop.test", "https://sub.shop.test", True),
        ("https://*.shop.test:8443", "https://sub.shop.test:8443", True),
        ("https://*.shop.test:8443", "https://sub.shop.test", False),
        ("shop.test", "http://shop.test", True),
        ("shop.test", "https://shop.test:8443", True),
        ("shop.test:8443", "https://shop.test:8443", True),
        ("shop.test:8443", "https://shop.test", False),
        ("shop.test:443", "https://shop.test", True),
        ("[::1]", "http://[::1]:3000", True),
        ("http://[::1]:3000", "http://[::1]:3000", True),
        ("https://*.shop.test", "https://shop.test", False),
        ("https://.shop.test", "https://shop.test", True),
        ("https://shop.test:*", "https://shop.test:1234", True),
        ("https://shop.test:*", "http://shop.test:1234", False),
        ("https://shop.test", "https://shop.test.", False),
        ("https://b\u00fccher.test", "https://xn--bcher-kva.test", True),
        ("https://*.B\u00dcCHER.test", "https://www.xn--bcher-kva.test", True),
        ("https://b\u00fccher\u3002test", "https://xn--bcher-kva.test", True),
        ("https://b\u00fccher.test", "https://XN--BCHER-KVA.test:0443", True),
        ("https://[::ffff:127.0.0.1]", "https://[::ffff:7f00:1]", True),
        ("https://stra\u00dfe.test", "https://xn--strae-oqa.test", True),
        ("https://[::1]:8000", "https://[0:0:0:0:0:0:0:1]:8000", True),
        ("https://[2001:DB8:0::1]", "https://[2001:db8::1]", True),
        ("chrome-extension://abcdef", "chrome-extension://abcdef", True),
        ("chrome-extension://abcdef", "chrome-extension://fedcba", False),
        ("http://shop.test:port", "http://shop.test", False),
        ("http://[::1", "http://shop.test", False),
        ("https://", "https://shop.test", False),
    ],
)
def test_the_projects_own_list_of_origins(rule: str, origin: str, is_allowed: bool) -> None:
    assert allowed(origin, rule=[rule]) is is_allowed
    assert allowed(origin, rule=("https://other.test", rule)) is is_allowed


def test_the_projects_own_list_replaces_the_default(settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["testserver"]
    assert not allowed("http://testserver", rule=["https://shop.test"])


def test_an_empty_list_refuses_every_origin() -> None:
    assert not allowed("http://testserver", rule=[])


def test_two_origins_are_refused() -> None:
    assert not allowed("http://testserver", more=((b"origin", b"http://testserver"),))


def test_two_hosts_are_the_same_as_none(settings: Any) -> None:
    settings.ALLOWED_HOSTS = []
    assert not allowed("http://testserver", more=((b"host", b"evil.test"),))


def test_no_host_matches_no_origin(settings: Any) -> None:
    settings.ALLOWED_HOSTS = []
    assert not is_origin_allowed({"headers": [(b"origin", b"http://testserver")]}, None)


def test_a_scope_without_headers_passes() -> None:
    assert is_origin_allowed({}, None)
