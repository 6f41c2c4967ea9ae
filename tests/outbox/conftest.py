"""Fixtures for the tests of the outbox."""

from collections.abc import Iterator

import pytest

from django_etp.outbox.commits import ring_under_test
from django_etp.outbox.servers import deliver_under_test


@pytest.fixture
def kept() -> Iterator[list[str]]:
    """Keep stored events in the table, where otherwise a test's commit sends them; the databases of the commits."""
    commits: list[str] = []
    ring_under_test(commits.append)
    yield commits
    ring_under_test(deliver_under_test)
