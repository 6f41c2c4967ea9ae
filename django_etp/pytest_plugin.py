"""Fixtures for pytest; pip installs them with the package."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .events.registry import Registry
    from .testing.communicator import EtpCommunicator

__all__ = ["etp_communicator", "etp_registry"]

# A plain handler that still runs keeps the shared thread; that is the test's fault, and no reason to wait for ever.
_THREAD_LIMIT = 10.0


@pytest.fixture
def etp_registry() -> "Iterator[Registry]":
    """The registry; handlers and hooks registered inside the test are gone after it."""
    from .events.registry import registry

    with registry.isolated():
        yield registry


@pytest.fixture
def etp_communicator(request: pytest.FixtureRequest) -> "Iterator[type[EtpCommunicator]]":
    """The test client's class, ready to be used as ``async with etp_communicator(user=…) as client``.

    The ORM's a-methods use the database connection of the test from here on: with pytest-django's ``db`` they work
    inside its transaction, so that what an async test creates before it connects is gone after it, too.
    """
    from asgiref.sync import SyncToAsync

    from .testing.communicator import EtpCommunicator
    from .testing.database import connections_to_lend, lend, take_back

    for name in {"db", "transactional_db"} & set(request.fixturenames):
        request.getfixturevalue(name)  # it begins before this, and ends after
    lent, thread = connections_to_lend(), SyncToAsync.single_thread_executor
    thread.submit(lend, lent).result(_THREAD_LIMIT)
    yield EtpCommunicator
    thread.submit(take_back, lent).result(_THREAD_LIMIT)
