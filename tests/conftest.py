"""Fixtures for the whole suite."""

from collections.abc import Iterator

import pytest
from asgiref.sync import SyncToAsync
from django.db import connections

from tests.servers import COMMANDS, Server, raised_limits, start_server


@pytest.fixture(scope="session", params=COMMANDS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """The reference server as a process, once on each kind of server; shared by the tests of a worker.

    daphne's own message limits are raised above those of django_etp. At the end the log must hold no complaint.
    """
    with start_server(request.param, options=raised_limits(request.param)) as server:
        yield server
        server.stop()
        assert server.complaints == []


@pytest.fixture(autouse=True)
def _no_database_connection_outlives_its_test() -> Iterator[None]:
    """Close what a test left open in asgiref's shared thread; it would trouble the next that may use no database."""
    yield
    SyncToAsync.single_thread_executor.submit(_close_connections).result(10)


def _close_connections() -> None:
    for connection in connections.all(initialized_only=True):
        if connection.connection is not None and not connection.in_atomic_block:
            connection.connection.close()  # Django's own close() leaves SQLite in memory open
            connection.connection = None
