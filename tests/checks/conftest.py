"""A project with a handler, as the checks expect one."""

from collections.abc import Iterator

import pytest

from django_etp.events.registry import registry


@pytest.fixture(autouse=True)
def handler() -> Iterator[None]:
    with registry.isolated():
        registry.etp_event("hello")(lambda connection, event: None)
        yield
