"""Stored sessions are found, on every engine."""

from typing import Any

import pytest

from django_etp.sessions.listing import existing_sessions, read_shares, sessions_with_data
from tests.support.stored import WITHOUT_LOCK, make_session, store_class, use_engine

pytestmark = pytest.mark.django_db


def test_sessions_that_live_are_told_from_others(engine: str) -> None:
    one, other, gone = make_session(), make_session(), make_session()
    store_class()(gone).flush()
    assert existing_sessions(iter([one, other, gone])) == {one, other}


@pytest.mark.usefixtures("engine_with_lock")
def test_sessions_with_data_are_found() -> None:
    key = make_session(etp={"a": {}, "b": {}})
    make_session(cart=[1])
    assert sessions_with_data() == {key: {"a", "b"}}


@pytest.mark.parametrize("name", WITHOUT_LOCK)
def test_engines_without_rows_cannot_list_their_sessions(
    name: str, settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    use_engine(name, settings, monkeypatch, tmp_path)
    assert sessions_with_data() is None


def test_the_data_in_living_sessions_is_read(engine: str) -> None:
    with_data, without, odd = make_session(etp={"a": {"n": 1}}), make_session(cart=[1]), make_session(etp=7)
    gone = make_session(cart=[1])
    store_class()(gone).flush()
    assert read_shares([with_data, without, odd, gone, "never-was"]) == {
        with_data: {"a": {"n": 1}},
        without: {},
        odd: {},
    }
