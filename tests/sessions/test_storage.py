"""Changing stored sessions, on every engine: what others wrote stays, and what is gone stays gone."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_etp.sessions.listing import existing_sessions, read_shares, sessions_with_data
from django_etp.sessions.storage import create_session, discard_session, patch_session, remove_data
from tests.support import stored_elsewhere
from tests.support.stored import WITH_LOCK, content_of, make_session, patch, put, store_class, use_engine

pytestmark = pytest.mark.django_db


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
    assert sessions_with_data() == {key: {"a"}}
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


def test_data_of_some_connections_is_removed(engine: str) -> None:
    key = make_session(cart=[1], etp={"a": {"x": 1}, "b": {"y": 2}})
    assert remove_data(key, iter(["a", "c"]))
    assert content_of(key) == {"cart": [1], "etp": {"b": {"y": 2}}}
    assert remove_data(key, ["b"])
    assert content_of(key) == {"cart": [1]}


def test_a_session_made_for_data_is_discarded_with_the_last_of_it(engine: str) -> None:
    key = make_session(_etp_made=True)
    discard_session(key)
    assert content_of(key) is None


@pytest.mark.parametrize(
    "content", [{"cart": [1]}, {"_etp_made": True, "cart": [1]}, {"_etp_made": True, "etp": {"a": {}}}]
)
def test_a_session_that_holds_something_else_is_not_discarded(engine: str, content: dict[str, Any]) -> None:
    key = make_session(**content)
    discard_session(key)
    assert content_of(key) == content


def test_a_session_that_is_gone_needs_no_discarding(engine: str) -> None:
    discard_session("a" * 32)
    assert content_of("a" * 32) is None
