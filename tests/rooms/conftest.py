"""Fixtures for the tests of rooms."""

import asyncio
from typing import Any

import pytest

from django_etp import rooms
from tests.support.rooms import Call


@pytest.fixture(params=["async", "plain"])
def call(request: pytest.FixtureRequest) -> Call:
    """A function that calls one of the API's: the coroutine on the event loop, or the plain twin on a thread."""

    async def call_by_name(name: str, *args: Any, api: Any = rooms, **options: Any) -> Any:
        if request.param == "async":
            return await getattr(api, f"a{name}")(*args, **options)
        return await asyncio.to_thread(getattr(api, name), *args, **options)

    return call_by_name
