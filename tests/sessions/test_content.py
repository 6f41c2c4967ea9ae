"""The data of connections in the content of a session."""

from typing import Any

import pytest

from django_etp.sessions.content import set_shares, shares_in


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
