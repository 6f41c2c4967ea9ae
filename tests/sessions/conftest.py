"""Fixtures that choose the engine of sessions."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection

from tests.support import stored_elsewhere
from tests.support.stored import WITH_LOCK, WITHOUT_LOCK, use_engine


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
