"""Stores of histories, on real servers that the tests of a module share."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio

from django_etp.history.store import Store
from tests.support.histories import (
    KINDS,
    MakeStore,
    memory_history,
    postgres_history,
    redis_history,
    sqlite_history,
)
from tests.support.valkey import Valkey, start_valkey


@pytest.fixture(scope="package")
def valkey() -> Iterator[Valkey]:
    with start_valkey() as valkey:
        yield valkey


@pytest.fixture(scope="package")
def postgres(django_db_setup: None, django_db_blocker: Any) -> Iterator[MakeStore]:
    with django_db_blocker.unblock(), postgres_history() as make:
        yield make


@pytest.fixture(scope="package")
def sqlite(
    tmp_path_factory: pytest.TempPathFactory, django_db_setup: None, django_db_blocker: Any
) -> Iterator[MakeStore]:
    with django_db_blocker.unblock(), sqlite_history(tmp_path_factory.mktemp("history")) as make:
        yield make


@pytest.fixture(params=KINDS)
def make_store(request: pytest.FixtureRequest, django_db_blocker: Any) -> Iterator[MakeStore]:
    """Make stores of one kind, for one event loop each. They have the same histories."""
    if request.param == "memory":
        yield memory_history
    elif request.param == "redis":
        valkey = request.getfixturevalue("valkey")
        yield lambda: redis_history(valkey)
    else:
        make = request.getfixturevalue(request.param)
        with django_db_blocker.unblock():
            yield make


@pytest_asyncio.fixture
async def store(make_store: MakeStore) -> AsyncIterator[Store]:
    store = make_store()
    yield store
    await store.close()
