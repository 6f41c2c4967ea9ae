"""The session of an ASGI scope is loaded in a thread, once, and read without another load."""

import asyncio
import threading
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.backends.signed_cookies import SessionStore as CookieStore
from django.utils.functional import SimpleLazyObject

from django_etp.sessions.loaded import load_session, loaded_content, session_hash, session_key_of, shares_of_others
from tests.support.inprocess import WAIT
from tests.support.stored import amake_session


class WatchedStore(SessionStore):
    """Counts its loads, and the threads in which they ran."""

    def __init__(self, session_key: str | None = None) -> None:
        super().__init__(session_key)
        self.threads: list[str] = []

    def load(self) -> dict[str, Any]:
        self.threads.append(threading.current_thread().name)
        return {"cart": [1]}


async def test_a_session_is_loaded_once_in_a_thread() -> None:
    store = WatchedStore("a" * 32)
    await load_session(store)
    await load_session(store)
    [thread] = store.threads
    assert thread.startswith("etp-own")
    assert loaded_content(store) == {"cart": [1]}


async def test_a_lazy_session_is_loaded() -> None:
    store = WatchedStore("a" * 32)
    lazy = SimpleLazyObject(lambda: store)
    assert lazy.session_key == "a" * 32
    await load_session(lazy)
    assert len(store.threads) == 1


async def test_loads_of_one_session_that_wait_leave_threads_to_others(settings: Any) -> None:
    settings.ETP = {"SYNC_WORKERS": 4}
    door = threading.Event()

    class LockedStore(SessionStore):
        def load(self) -> dict[str, Any]:
            door.wait(WAIT)
            return {}

    loads = [asyncio.create_task(load_session(LockedStore("a" * 32))) for _ in range(20)]
    await asyncio.sleep(0)
    try:
        async with asyncio.timeout(WAIT / 2):
            await load_session(WatchedStore("b" * 32))
    finally:
        door.set()
        await asyncio.gather(*loads)


@pytest.mark.parametrize("session", [None, {}, CookieStore("no cookie")])
async def test_sessions_that_are_not_stored_are_not_loaded(session: Any) -> None:
    await load_session(session)
    assert not hasattr(session, "_session_cache")


def test_a_session_that_is_not_loaded_counts_as_empty() -> None:
    store = WatchedStore("a" * 32)
    assert loaded_content(store) == {}
    assert not store.threads


@pytest.mark.parametrize(
    ("scope", "key"),
    [
        ({"session": SessionStore("a" * 32)}, "a" * 32),
        ({"session": SessionStore()}, None),
        ({"session": {}}, None),
        ({}, None),
    ],
)
def test_the_key_of_a_scopes_session(scope: dict[str, Any], key: str | None) -> None:
    assert session_key_of(scope) == key


def test_the_key_of_a_lazy_session() -> None:
    lazy = SimpleLazyObject(lambda: SessionStore("a" * 32))
    assert lazy.session_key == "a" * 32
    assert session_key_of({"session": lazy}) == "a" * 32


def test_a_hash_names_one_session_and_hides_its_key() -> None:
    assert session_hash("a" * 32) == session_hash("a" * 32) != session_hash("b" * 32)
    assert "a" * 32 not in session_hash("a" * 32)


@pytest.mark.django_db(transaction=True)
async def test_the_connections_whose_data_a_loaded_session_holds() -> None:
    store = SessionStore(await amake_session(etp={"a": {}, "b": {"n": 1}}))
    assert shares_of_others(store) == frozenset()
    await sync_to_async(store._get_session)()  # type: ignore[attr-defined]
    assert shares_of_others(store) == {"a", "b"}


@pytest.mark.parametrize("session", [None, {"etp": {"a": {}}}])
def test_what_is_not_djangos_holds_no_data(session: Any) -> None:
    assert shares_of_others(session) == frozenset()
