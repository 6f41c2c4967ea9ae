"""A session that is gone is not confused with a store that is out of reach, on engines without rows."""

import errno
import os
from collections.abc import Callable
from typing import Any

import pytest
from django.core.cache import cache
from django.core.cache.backends.locmem import LocMemCache

from django_etp.sessions.listing import existing_sessions, read_shares
from django_etp.sessions.storage import patch_session
from tests.support.stored import WITHOUT_LOCK, content_of, make_session, put, use_engine


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


def test_a_session_of_files_that_expired_leaves_no_new_one_behind(
    settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    use_engine("file", settings, monkeypatch, tmp_path)
    settings.SESSION_COOKIE_AGE = -1
    key = make_session(cart=[1])
    assert not patch_session(key, put("etp", {}))
    assert list(tmp_path.iterdir()) == []
