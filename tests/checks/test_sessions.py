"""The system checks of the session engine."""

from typing import Any

import pytest
from django.contrib.sessions.backends.signed_cookies import SessionStore as CookieStore
from django.core.checks import CheckMessage, run_checks

from django_etp.checks.sessions import check_session_engine
from tests.support.stored import WITH_LOCK, WITHOUT_LOCK


@pytest.fixture(autouse=True)
def debug(settings: Any) -> None:
    settings.DEBUG = True  # the suite's channel layer is in memory, which is worth a warning elsewhere


def found() -> list[CheckMessage]:
    return [message for message in run_checks() if str(message.id).startswith("django_etp.")]


@pytest.mark.parametrize(("engine", "id"), [("signed_cookies", "django_etp.E101"), ("cache", "django_etp.W101")])
def test_a_session_engine_that_cannot_keep_data_safely_is_found(settings: Any, engine: str, id: str) -> None:
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{engine}"
    assert [message.id for message in found()] == [id]


class SessionStore(CookieStore):
    """A project's own engine, of this module's name."""


def test_the_check_refuses_sessions_in_cookies(settings: Any) -> None:
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    [problem] = check_session_engine(None)
    assert problem.id == "django_etp.E101"
    assert problem.is_serious()
    assert "a WebSocket cannot write the browser's cookie" in problem.msg


def test_the_check_knows_a_projects_own_engine_by_its_kind(settings: Any) -> None:
    settings.SESSION_ENGINE = __name__
    [problem] = check_session_engine(None)
    assert problem.id == "django_etp.E101"


def test_the_check_leaves_an_engine_that_is_not_there_to_django(settings: Any) -> None:
    settings.SESSION_ENGINE = "nowhere.sessions"
    assert check_session_engine(None) == []


@pytest.mark.parametrize("name", WITHOUT_LOCK)
def test_the_check_warns_of_engines_without_a_lock(name: str, settings: Any) -> None:
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{name}"
    [problem] = check_session_engine(None)
    assert problem.id == "django_etp.W101"
    assert not problem.is_serious()


@pytest.mark.parametrize("name", WITH_LOCK)
def test_the_check_is_content_with_engines_that_lock(name: str, settings: Any) -> None:
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{name}"
    assert check_session_engine(None) == []
