"""Fixtures for pytest; pip installs them with the package."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .registry import Registry
    from .testing import EtpCommunicator

__all__ = ["etp_communicator", "etp_registry"]


@pytest.fixture
def etp_registry() -> "Iterator[Registry]":
    """The registry; handlers and hooks registered inside the test are gone after it."""
    from .registry import registry

    with registry.isolated():
        yield registry


@pytest.fixture
def etp_communicator() -> "type[EtpCommunicator]":
    """The test client's class, ready to be used as ``async with etp_communicator(user=…) as client``."""
    from .testing import EtpCommunicator

    return EtpCommunicator
