"""Fixtures for the whole suite."""

from collections.abc import Iterator

import pytest

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
