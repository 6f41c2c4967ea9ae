"""Fixtures for pytest, which loads them in each project that has the package installed."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .events.registry import Registry
    from .testing.communicator import EtpCommunicator

__all__ = ["etp_communicator", "etp_registry"]

# How long to wait for the shared thread, in seconds. A test may leave a plain handler running there.
_THREAD_LIMIT = 10.0


@pytest.fixture
def etp_registry() -> "Iterator[Registry]":
    """The registry. Handlers and hooks that the test registers are removed after it."""
    from .events.registry import registry

    with registry.isolated():
        yield registry


@pytest.fixture
def etp_communicator(request: pytest.FixtureRequest) -> "Iterator[type[EtpCommunicator]]":
    """The class of the test client, for use as ``async with etp_communicator(user=…) as client``.

    From here on the ORM's a-methods use the database connection of the test. With pytest-django's ``db`` they work
    inside its transaction, so that rows that an async test creates, even before it connects, are removed after it.
    """
    from asgiref.sync import SyncToAsync

    from .testing.communicator import EtpCommunicator
    from .testing.database import connections_to_lend, lend, take_back

    for name in {"db", "transactional_db"} & set(request.fixturenames):
        request.getfixturevalue(name)  # set up before this fixture, and torn down after it
    lent, thread = connections_to_lend(), SyncToAsync.single_thread_executor
    thread.submit(lend, lent).result(_THREAD_LIMIT)
    yield EtpCommunicator
    thread.submit(take_back, lent).result(_THREAD_LIMIT)
