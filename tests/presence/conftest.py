"""Fixtures for the tests of presence."""

from typing import Any

import pytest

from tests.support import presence


@pytest.fixture
def layer(settings: Any) -> None:
    """The layer that the hubs of one process share, empty and there."""
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "tests.support.presence.CutLayer"}}
    presence.reset_layer()
