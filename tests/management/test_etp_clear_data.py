"""`manage.py etp_clear_data`. Several processes are in tests/auth/test_revocation.py."""

from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from tests.support.stored import WITH_LOCK, WITHOUT_LOCK, content_of, make_session, use_engine

pytestmark = pytest.mark.django_db


def clear(*arguments: str) -> str:
    """Run the command, and return what it printed."""
    printed = StringIO()
    call_command("etp_clear_data", *arguments, stdout=printed)
    return printed.getvalue()


@pytest.mark.parametrize("engine", WITH_LOCK)
def test_it_removes_the_data_of_all_connections_where_it_is_asked_to(
    engine: str, settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    use_engine(engine, settings, monkeypatch, tmp_path)
    one, other, none = (
        make_session(etp={"a": {}, "b": {}}),
        make_session(cart=[1], etp={"c": {}}),
        make_session(cart=[2]),
    )
    assert clear("--all") == "Removed the data of 3 connections that are gone.\n"
    assert [content_of(key) for key in (one, other, none)] == [{}, {"cart": [1]}, {"cart": [2]}]


def test_it_asks_for_all_where_it_cannot_ask_the_server() -> None:
    key = make_session(etp={"a": {}})
    with pytest.raises(CommandError, match=r"does not span processes.*pass --all"):
        clear()
    assert content_of(key) == {"etp": {"a": {}}}


@pytest.mark.parametrize("engine", WITHOUT_LOCK)
def test_it_fails_where_the_engine_cannot_list_its_sessions(
    engine: str, settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    use_engine(engine, settings, monkeypatch, tmp_path)
    with pytest.raises(CommandError, match="cannot list its sessions"):
        clear("--all")
