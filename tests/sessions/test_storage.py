"""Changing stored sessions, on every engine: what others wrote stays, and what is gone stays gone."""

import errno
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.sessions.backends.signed_cookies import SessionStore as CookieStore
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.core.cache.backends.locmem import LocMemCache
from django.core.management.base import CommandError
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_etp.checks.sessions import check_session_engine
from django_etp.sessions.storage import (
    create_session,
    existing_sessions,
    patch_session,
    read_shares,
    remove_data,
    sessions_with_data,
)
from tests.support import stored_elsewhere
from tests.support.stored import WITH_LOCK, WITHOUT_LOCK, content_of, make_session, patch, store_class, use_engine

pytestmark = pytest.mark.django_db


class SessionStore(CookieStore):
    """A project's own engine, of this module's name."""


@pytest.fixture(params=[*WITH_LOCK, *WITHOUT_LOCK])
def engine(request: pytest.FixtureRequest, settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> str:
    use_engine(request.param, settings, monkeypatch, tmp_path)
    return str(request.param)


@pytest.fixture(params=WITH_LOCK)
def engine_with_lock(
    request: pytest.FixtureRequest, settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    use_engine(request.param, settings, monkeypatch, tmp_path)


@pytest.fixture
def table(settings: Any) -> Iterator[None]:
    """The table of an engine whose rows have a column of their own, in use."""
    settings.SESSION_ENGINE = "tests.support.stored_elsewhere"
    with connection.schema_editor() as editor:
        editor.create_model(stored_elsewhere.Session)
    yield
    with connection.schema_editor() as editor:
        editor.delete_model(stored_elsewhere.Session)


def put(key: str, value: Any) -> Any:
    return lambda content: content.update({key: value})


def test_a_change_keeps_what_is_there(engine: str) -> None:
    key = make_session(cart=[1])
    assert patch_session(key, put("etp", {"a": {}}))
    assert content_of(key) == {"cart": [1], "etp": {"a": {}}}


def test_a_change_sees_what_another_process_wrote_last(engine: str) -> None:
    key = make_session(cart=[1])
    assert content_of(key) == {"cart": [1]}  # and cached_db has it cached
    if engine in WITH_LOCK:
        Session.objects.filter(session_key=key).update(session_data=store_class()().encode({"cart": [1, 2]}))
    else:
        patch(key, put("cart", [1, 2]))
    patch_session(key, put("etp", {}))
    assert content_of(key) == {"cart": [1, 2], "etp": {}}


def test_a_session_that_is_gone_is_not_made_again(engine: str) -> None:
    key = make_session(cart=[1])
    store_class()(key).flush()
    assert not patch_session(key, put("etp", {}))
    assert content_of(key) is None
    assert not Session.objects.exists()


def test_a_session_that_expired_is_not_brought_back(engine: str, settings: Any) -> None:
    settings.SESSION_COOKIE_AGE = -1
    key = make_session(cart=[1])
    settings.SESSION_COOKIE_AGE = 100
    if engine == "file":  # it goes by the file's age
        settings.SESSION_COOKIE_AGE = -1
    assert not patch_session(key, put("etp", {}))
    assert content_of(key) is None
    assert existing_sessions([key]) == set()


def test_a_session_of_files_that_expired_leaves_no_new_one_behind(
    settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    use_engine("file", settings, monkeypatch, tmp_path)
    settings.SESSION_COOKIE_AGE = -1
    key = make_session(cart=[1])
    assert not patch_session(key, put("etp", {}))
    assert list(tmp_path.iterdir()) == []


def test_a_key_that_never_was_has_no_session(engine: str) -> None:
    assert not patch_session("a" * 32, put("etp", {}))
    assert existing_sessions(["a" * 32]) == set()


@pytest.mark.usefixtures("engine_with_lock")
def test_a_change_does_not_prolong_the_session() -> None:
    key = make_session()
    Session.objects.update(expire_date=(soon := timezone.now() + timedelta(minutes=1)))
    patch_session(key, put("etp", {}))
    assert Session.objects.get().expire_date == soon


@pytest.mark.usefixtures("engine_with_lock")
@pytest.mark.parametrize(("expiry", "seconds"), [(60, 60), (None, 14 * 24 * 3600)])
def test_a_new_expiry_holds_from_the_change_on(expiry: int | None, seconds: int, settings: Any) -> None:
    settings.SESSION_COOKIE_AGE = 14 * 24 * 3600
    key = make_session(_session_expiry=3600)
    patch_session(key, put("_session_expiry", expiry))
    left = Session.objects.get().expire_date - timezone.now()
    assert left.total_seconds() == pytest.approx(seconds, abs=30)


@pytest.mark.usefixtures("engine_with_lock")
def test_a_session_is_prolonged_where_that_is_asked_for() -> None:
    key = make_session(_session_expiry=3600)
    Session.objects.update(expire_date=timezone.now() + timedelta(minutes=1))
    patch_session(key, put("_session_expiry", 3600), prolong=True)
    assert (Session.objects.get().expire_date - timezone.now()).total_seconds() == pytest.approx(3600, abs=30)


class ForgivingCache(LocMemCache):
    """Answers as an empty one while it is out of reach, as with django-redis' IGNORE_EXCEPTIONS."""

    away = False
    lag = 0

    def get(self, key: Any, default: Any = None, version: Any = None) -> Any:
        if self.lag:
            type(self).lag -= 1
        return default if self.away or self.lag else super().get(key, default, version)

    def set(self, *args: Any, **kwargs: Any) -> None:
        if not self.away:
            super().set(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> bool:
        return not self.away and super().delete(*args, **kwargs)


ASKS: list[Callable[[str], Any]] = [
    lambda key: existing_sessions([key]),
    lambda key: read_shares([key]),
    lambda key: patch_session(key, put("etp", {})),
]


@pytest.fixture
def forgiving_cache(settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    use_engine("cache", settings, monkeypatch, tmp_path)
    settings.CACHES = {"default": {"BACKEND": f"{__name__}.ForgivingCache", "LOCATION": str(tmp_path)}}


@pytest.mark.usefixtures("forgiving_cache")
@pytest.mark.parametrize("ask", ASKS)
def test_a_cache_that_hides_an_outage_does_not_say_that_its_sessions_are_gone(
    ask: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    key = make_session(cart=[1])
    with monkeypatch.context() as outage:
        outage.setattr(ForgivingCache, "away", True)
        with pytest.raises(OSError, match="out of reach"):
            ask(key)
    assert existing_sessions([key, "gone" * 8]) == {key}
    assert content_of(key) == {"cart": [1]}


@pytest.mark.usefixtures("forgiving_cache")
@pytest.mark.parametrize("ask", ASKS)
def test_a_session_that_a_cache_brings_late_is_found(
    ask: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    key = make_session()
    monkeypatch.setattr(ForgivingCache, "lag", 3)
    assert ask(key)


@pytest.mark.usefixtures("forgiving_cache")
def test_asking_a_cache_leaves_nothing_behind() -> None:
    key = make_session()
    assert existing_sessions([key, "gone" * 8]) == {key}
    assert len(cache._cache) == 1


@pytest.mark.parametrize("error", [errno.EACCES, errno.EIO, errno.ESTALE])
@pytest.mark.parametrize("ask", ASKS)
def test_a_file_that_cannot_be_looked_at_is_not_gone(
    ask: Callable[[str], Any], error: int, settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    use_engine("file", settings, monkeypatch, tmp_path)
    key = make_session(cart=[1])

    def fail(path: Any, *args: Any, **kwargs: Any) -> Any:
        raise OSError(error, os.strerror(error), path)

    with monkeypatch.context() as outage:
        outage.setattr("builtins.open", fail)
        outage.setattr(os, "stat", fail)
        with pytest.raises(OSError, match=os.strerror(error)):
            ask(key)
    assert content_of(key) == {"cart": [1]}


@pytest.mark.parametrize("ask", ASKS)
def test_a_directory_of_sessions_that_is_gone_is_no_end_of_them(
    ask: Callable[[str], Any], settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    folder = tmp_path / "sessions"
    folder.mkdir()
    use_engine("file", settings, monkeypatch, folder)
    key = make_session(cart=[1])
    folder.rename(tmp_path / "away")
    with pytest.raises(FileNotFoundError, match="sessions"):
        ask(key)
    (tmp_path / "away").rename(folder)
    assert existing_sessions([key]) == {key}


@pytest.mark.parametrize("name", WITHOUT_LOCK)
def test_a_store_that_is_out_of_reach_does_not_say_that_its_sessions_are_gone(
    name: str, settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """Django's own stores take that for a session that never was."""
    use_engine(name, settings, monkeypatch, tmp_path)
    key = make_session(cart=[1])

    def away(*args: Any, **kwargs: Any) -> Any:
        raise ConnectionError("out of reach")

    with monkeypatch.context() as outage:
        if name == "cache":
            outage.setattr(LocMemCache, "get", away)
        else:
            [file] = tmp_path.iterdir()
            file.rename(tmp_path / "away")
            file.mkdir()
        for ask in (
            lambda: existing_sessions([key]),
            lambda: read_shares([key]),
            lambda: patch_session(key, put("etp", {})),
        ):
            with pytest.raises(OSError, match=r"out of reach|cannot be read"):
                ask()
    if name == "file":
        file.rmdir()
        (tmp_path / "away").rename(file)
    assert existing_sessions([key]) == {key}
    assert content_of(key) == {"cart": [1]}


def test_a_cached_copy_goes_with_the_change(settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    use_engine("cached_db", settings, monkeypatch, tmp_path)
    key = make_session(cart=[1])
    name = store_class().cache_key_prefix + key
    assert cache.get(name) is not None
    patch_session(key, put("etp", {}))
    assert cache.get(name) is None


def test_the_row_is_locked_before_it_is_read(settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    use_engine("db", settings, monkeypatch, tmp_path)
    key = make_session()
    with CaptureQueriesContext(connection) as queries:
        patch_session(key, put("etp", {}))
    statements = [query["sql"].split()[0] for query in queries]
    assert [word for word in statements if word in ("UPDATE", "SELECT")] == ["UPDATE", "SELECT", "UPDATE"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("table")
def test_columns_of_a_row_that_are_no_business_of_ours_stay() -> None:
    store = stored_elsewhere.SessionStore(owner="Firefox on a phone")
    store["cart"] = [1]
    store.create()
    key = store.session_key
    assert key is not None
    assert patch_session(key, put("etp", {"a": {"n": 1}}))
    row = stored_elsewhere.Session.objects.get()
    assert (row.owner, store.decode(row.session_data)) == ("Firefox on a phone", {"cart": [1], "etp": {"a": {"n": 1}}})
    assert read_shares([key, "gone"]) == {key: {"a": {"n": 1}}}
    assert list(sessions_with_data()) == [(key, {"a"})]
    assert existing_sessions([key, "gone"]) == {key}
    assert not patch_session("gone", put("etp", {}))
    assert stored_elsewhere.Session.objects.count() == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("table")
def test_a_new_session_is_made_as_its_engine_expects() -> None:
    key = create_session(put("owner", "ada"))
    row = stored_elsewhere.Session.objects.get()
    assert (row.session_key, row.owner) == (key, "ada")


def test_a_change_that_fails_writes_nothing(engine: str) -> None:
    key = make_session(cart=[1])

    def fail(content: dict[str, Any]) -> None:
        content["cart"] = []
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        patch_session(key, fail)
    assert content_of(key) == {"cart": [1]}


def test_a_new_session_holds_what_is_put_in(engine: str) -> None:
    key = create_session(put("etp", {"a": {"b": 1}}))
    assert content_of(key) == {"etp": {"a": {"b": 1}}}


def test_sessions_that_live_are_told_from_others(engine: str) -> None:
    one, other, gone = make_session(), make_session(), make_session()
    store_class()(gone).flush()
    assert existing_sessions(iter([one, other, gone])) == {one, other}


def test_data_of_some_connections_is_removed(engine: str) -> None:
    key = make_session(cart=[1], etp={"a": {"x": 1}, "b": {"y": 2}})
    assert remove_data(key, iter(["a", "c"]))
    assert content_of(key) == {"cart": [1], "etp": {"b": {"y": 2}}}
    assert remove_data(key, ["b"])
    assert content_of(key) == {"cart": [1]}


@pytest.mark.usefixtures("engine_with_lock")
def test_sessions_with_data_are_found() -> None:
    key = make_session(etp={"a": {}, "b": {}})
    make_session(cart=[1])
    assert list(sessions_with_data()) == [(key, {"a", "b"})]


@pytest.mark.parametrize("name", WITHOUT_LOCK)
def test_engines_that_list_nothing_say_so(
    name: str, settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    use_engine(name, settings, monkeypatch, tmp_path)
    with pytest.raises(CommandError, match="cannot be listed"):
        list(sessions_with_data())


def test_the_check_refuses_sessions_in_cookies(settings: Any) -> None:
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    [problem] = check_session_engine(None)
    assert problem.id == "django_etp.E101"
    assert problem.is_serious()
    assert "a WebSocket cannot write the browser's cookie" in problem.msg


def test_the_check_knows_a_projects_own_engine_by_its_kind(settings: Any) -> None:
    settings.SESSION_ENGINE = "tests.sessions.test_storage"
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


def test_the_data_in_living_sessions_is_read(engine: str) -> None:
    with_data, without, odd = make_session(etp={"a": {"n": 1}}), make_session(cart=[1]), make_session(etp=7)
    gone = make_session(cart=[1])
    store_class()(gone).flush()
    assert read_shares([with_data, without, odd, gone, "never-was"]) == {
        with_data: {"a": {"n": 1}},
        without: {},
        odd: {},
    }
