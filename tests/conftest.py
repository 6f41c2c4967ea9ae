"""Fixtures for the whole suite."""

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import wait

import pytest
from asgiref.sync import SyncToAsync
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from django_etp.concurrency.workers import _pools
from tests.support.calling import offer_calls
from tests.support.inprocess import Wire
from tests.support.servers import COMMANDS, Server, raised_limits, start_server
from tests.support.tab import browser, page, peer, tab

__all__ = ["browser", "page", "peer", "tab"]  # fixtures

# A shell's background job ignores Ctrl-C, and so would the servers that tests start, and stop with it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN and threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return how many workers `-n auto` starts: three times as many as cores, since many tests wait for servers."""
    return 3 * (os.cpu_count() or 1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the folder of the longest tests, so that no worker has one left when the others have ended."""
    items.sort(key=lambda item: "strain" not in item.path.parts)


@pytest.fixture(scope="session", params=COMMANDS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """The site as a process, once on each kind of server; shared by the tests of a worker.

    daphne's own message limits are raised above those of django_etp. At the end the log must hold no complaint.
    """
    with start_server(request.param, options=raised_limits(request.param)) as server:
        yield server
        server.stop()
        assert server.complaints == []


@pytest.fixture(params=["messages", "calls"])
def both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a test with a server that passes ASGI messages, and with one that offers the extension django_etp.direct."""
    if request.param == "calls":
        monkeypatch.setattr(Wire, "offers_calls", True)
        offer_calls(monkeypatch)


@pytest.fixture(autouse=True)
def _no_database_connection_outlives_its_test() -> Iterator[None]:
    """Close what a test left open in asgiref's shared thread, and in those of plain functions; let relays end.

    These threads live on, and the next test in them may be one that must not use a database.
    """
    opened: list[tuple[threading.Thread, BaseDatabaseWrapper]] = []

    def note(*, connection: BaseDatabaseWrapper, **_: object) -> None:
        if (thread := threading.current_thread()).name.startswith("etp-"):
            opened.append((thread, connection))

    connection_created.connect(note)
    yield
    connection_created.disconnect(note)
    if opened:
        _wait_for_threads([thread for thread, _ in opened])
    for _, connection in opened:
        _close(connection)
    SyncToAsync.single_thread_executor.submit(_close_all_of_this_thread).result(10)


def _wait_for_threads(threads: list[threading.Thread]) -> None:
    """Wait for relays, and the calls of plain functions: SQLite crashes if a connection is closed during a query."""
    for thread in threads:
        if thread.name.startswith("etp-relay-"):
            thread.join(10)
            assert not thread.is_alive(), "the test has left a relay that does not end"
    calls = [call for pool in tuple(_pools.values()) for call in tuple(pool.unfinished)]
    _, unfinished = wait(calls, timeout=10)
    assert not unfinished, "the test has left calls in threads that do not end"


def _close_all_of_this_thread() -> None:
    for connection in connections.all(initialized_only=True):
        _close(connection)


def _close(connection: BaseDatabaseWrapper) -> None:
    if connection.connection is not None and not connection.in_atomic_block:
        connection.connection.close()  # Django's own close() leaves SQLite in memory open
        connection.connection = None
