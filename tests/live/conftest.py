"""Fixtures for the tests of the live page."""

from collections.abc import Iterator

import pytest

from django_etp.live import traffic


@pytest.fixture(autouse=True)
def _nobody_looks() -> Iterator[None]:
    """Let nothing be counted after a test, as some seconds after the last look."""
    yield
    for each in list(traffic._traffics.values()):
        each.stop()
