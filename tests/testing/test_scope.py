"""The scope of a handshake."""

from django_etp.testing.scope import handshake_scope


def test_the_path_is_unquoted_and_the_query_apart() -> None:
    scope = handshake_scope("/ws/caf%C3%A9/?a=%26", (), None, ())
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/ws/café/", b"/ws/caf%C3%A9/", b"a=%26")


def test_header_names_are_lower_case_bytes() -> None:
    scope = handshake_scope("/", [("X-Name", "\xe9"), (b"X-Raw", b"1")], None, ())
    assert scope["headers"][:2] == [(b"x-name", b"\xe9"), (b"x-raw", b"1")]


def test_there_is_one_host_header() -> None:
    assert handshake_scope("/", (), None, ())["headers"] == [(b"host", b"testserver")]
    assert handshake_scope("/", [("Host", "shop.test")], None, ())["headers"] == [(b"host", b"shop.test")]


def test_the_origin_is_the_last_header() -> None:
    assert handshake_scope("/", (), "https://shop.test", ())["headers"][-1] == (b"origin", b"https://shop.test")


def test_the_subprotocols_are_a_list() -> None:
    assert handshake_scope("/", (), None, iter(["a", "b"]))["subprotocols"] == ["a", "b"]
