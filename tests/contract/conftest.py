"""Contracts hold nothing that other modules of tests declare."""

from collections.abc import Iterator

import pytest

from django_etp.schemas.outgoing import _declared


@pytest.fixture(autouse=True)
def _nothing_is_declared() -> Iterator[None]:
    others = set(_declared)
    _declared.clear()
    yield
    _declared.update(others)
