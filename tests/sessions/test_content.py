"""The data of connections in the content of a session."""

import json
from typing import Any

import pytest

from django_etp.sessions.content import put_share, set_shares, shares_in


@pytest.mark.parametrize(
    ("content", "shares"),
    [({}, {}), ({"etp": {"a": {"n": 1}}}, {"a": {"n": 1}}), ({"etp": 7}, {}), ({"etp": None, "cart": [1]}, {})],
)
def test_shares_are_read(content: dict[str, Any], shares: dict[str, Any]) -> None:
    assert shares_in(content) == shares


def test_shares_are_replaced() -> None:
    content = {"cart": [1], "etp": {"a": {}}}
    set_shares(content, {"b": {}})
    assert content == {"cart": [1], "etp": {"b": {}}}


@pytest.mark.parametrize("content", [{"cart": [1], "etp": {"a": {}}}, {"cart": [1]}])
def test_no_shares_leave_no_key_behind(content: dict[str, Any]) -> None:
    set_shares(content, {})
    assert content == {"cart": [1]}


def test_the_data_of_a_sessions_connections_has_a_bound(settings: Any) -> None:
    settings.ETP = {"MAX_DATA_SIZE": 100}
    content: dict[str, Any] = {}
    share = json.dumps({"page": "x" * 50})
    stored = [put_share(content, id, share, lambda id: True) for id in "abcde"]
    assert stored == [True, True, True, False, False]
    assert content["etp"].keys() == {*"abc"}
    # A share that has no place any more is removed: it would be old.
    content["etp"]["d"] = {}
    assert not put_share(content, "d", share, lambda id: True)
    assert content["etp"].keys() == {*"abc"}
    # Those of ended connections make place.
    assert put_share(content, "e", share, lambda id: id != "a")
    assert content["etp"].keys() == {*"bce"}
    assert put_share(content, "e", "{}", lambda id: True)
    assert content["etp"].keys() == {*"bc"}
