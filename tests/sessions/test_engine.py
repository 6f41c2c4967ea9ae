"""The session engine of the project: its store, and the model of its rows."""

from datetime import timedelta
from types import ModuleType
from typing import Any

import pytest
from django.contrib.sessions.backends import cache, cached_db, db, file, signed_cookies
from django.contrib.sessions.models import Session
from django.utils import timezone

from django_etp.sessions.engine import database_of_sessions, living_rows, session_model, store_class
from tests.support import stored_elsewhere
from tests.support.stored import make_session

ENGINES: list[tuple[ModuleType, Any]] = [
    (db, Session),
    (cached_db, Session),
    (stored_elsewhere, stored_elsewhere.Session),
    (cache, None),
    (file, None),
    (signed_cookies, None),
]


@pytest.mark.parametrize(("engine", "model"), ENGINES)
def test_an_engine_has_a_store_and_maybe_a_model(engine: ModuleType, model: Any, settings: Any) -> None:
    settings.SESSION_ENGINE = engine.__name__
    assert store_class() is engine.SessionStore
    assert session_model() is model
    assert database_of_sessions() == ("default" if model else None)


class SessionStore(signed_cookies.SessionStore):
    """An engine in a module that has another ``Session``."""


class OtherStore(signed_cookies.SessionStore.__mro__[1]):  # type: ignore[misc]
    """An engine derived from none of Django's."""


@pytest.mark.parametrize("session", [object, Session.__base__])
def test_a_session_of_another_kind_is_no_model(session: Any, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.SESSION_ENGINE = __name__
    monkeypatch.setitem(globals(), "SessionStore", OtherStore)
    monkeypatch.setitem(globals(), "Session", session)
    assert session_model() is (session if session is not object else None)


class Router:
    """Reads from a replica."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return "replica"

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return "default"


def test_rows_are_read_from_the_database_that_is_written_to(settings: Any) -> None:
    settings.DATABASE_ROUTERS = [f"{__name__}.Router"]
    assert living_rows(Session).db == database_of_sessions() == "default"


@pytest.mark.django_db
def test_rows_that_have_not_expired_and_meet_the_conditions_are_living() -> None:
    one, _, expired = make_session(), make_session(), make_session()
    Session.objects.filter(session_key=expired).update(expire_date=timezone.now() - timedelta(seconds=1))
    assert [row.session_key for row in living_rows(Session, session_key__in=[one, expired])] == [one]
