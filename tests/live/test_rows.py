"""What the page shows of a connection."""

from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.utils.functional import SimpleLazyObject

from django_etp.live.rows import ConnectionRow, key_of, matches
from tests.support.live import connect, make_hub


@pytest.fixture(autouse=True)
def _no_layer(settings: Any) -> None:
    settings.CHANNEL_LAYERS = {}


async def test_a_row_has_the_facts_and_travels_as_plain_values() -> None:
    hub = make_hub()
    peer = connect(hub, "Ada", "lobby", "kitchen", at=5.25, key=7, namespace="game", client=["10.0.0.1", 4711])
    row = ConnectionRow.of(peer, hub)
    assert row == ConnectionRow("game", peer.id, "7", "Ada", "7", "10.0.0.1", 5.25, 2)
    plain = row.to_plain()
    assert {type(value) for value in plain} == {str, float, int}
    assert ConnectionRow.read(plain) == row
    assert row.key == key_of(peer) == (-5.25, peer.id)


@pytest.mark.parametrize("plain", [[], ["a"] * 8, [*"abcdef", "soon", 1], [*"abcdef", 1.0, 1, 1]])
def test_other_values_are_refused(plain: list[Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        ConnectionRow.read(plain)


@pytest.mark.parametrize("client", [None, [], ["", 0]])
async def test_an_unknown_client_and_nobody_are_empty(client: Any) -> None:
    hub = make_hub()
    row = ConnectionRow.of(connect(hub, client=client), hub)
    assert (row.user_id, row.username, row.identity, row.address) == ("", "", "", "")


class TokenUser:
    """A user without a model."""

    pk = "device-7"

    @property
    def username(self) -> str:
        raise KeyError("the token has none")


@pytest.mark.parametrize(
    ("user", "name"),
    [
        (User(pk=1, username="Ada"), "Ada"),
        (SimpleLazyObject(lambda: pytest.fail("the user was loaded")), ""),
        (AnonymousUser(), ""),
        (TokenUser(), ""),
        (SimpleNamespace(pk=1, username="tab\ud800let"), "tab?let"),
        (SimpleNamespace(pk=1, username="x" * 500), "x" * 150),
        (User.from_db("default", ["id"], [1]), ""),  # deferred: to read it would be a query, on the event loop
    ],
    ids=["user", "lazy", "anonymous", "failing", "surrogate", "long", "deferred"],
)
async def test_the_name_is_read_without_a_query(user: Any, name: str) -> None:
    hub = make_hub()
    peer = connect(hub)
    peer.scope["user"] = user
    assert ConnectionRow.of(peer, hub).username == name


async def test_a_search_finds_the_name_the_user_the_connection_and_the_address() -> None:
    hub = make_hub()
    peer = connect(hub, "Ada STRASSE", key=17, client=["10.0.0.1", 4711])
    for search in ("ada", "straße", "a s", "17", peer.id, "10.0.0.1"):
        assert matches(peer, search.casefold()), search
    for search in ("grace", "1", "10.0", "none", peer.id[:8]):
        assert not matches(peer, search), search
    assert not matches(connect(hub), "none")
