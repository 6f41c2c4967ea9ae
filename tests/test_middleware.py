"""Middleware that notes when a request began."""

import time
from typing import Any

import pytest
from asgiref.sync import iscoroutinefunction, sync_to_async
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory

from django_etp import Connection, History, etp_room
from django_etp.middleware import PositionMiddleware
from tests.support.declared import guest


def declare() -> None:
    @etp_room("orders/<int:pk>", history=History())
    async def order(connection: Connection, pk: int) -> None: ...


def show(request: HttpRequest) -> HttpResponse:
    return HttpResponse(repr(request.etp_moment))  # type: ignore[attr-defined]


async def ashow(request: HttpRequest) -> HttpResponse:
    return show(request)


async def both() -> list[str]:
    """Return what a view sees behind the middleware: a synchronous one, and an asynchronous one."""
    request = RequestFactory().get("/")
    plain, twin = PositionMiddleware(show), PositionMiddleware(ashow)
    assert (iscoroutinefunction(plain), iscoroutinefunction(twin)) == (False, True)
    responses: list[Any] = [await sync_to_async(plain)(request), await twin(request)]  # type: ignore[misc]
    return [response.content.decode() for response in responses]


@pytest.mark.usefixtures("etp_registry")
async def test_a_request_has_the_moment_of_its_beginning() -> None:
    declare()
    start = time.time()
    moments = [float(each) for each in await both()]
    assert start <= moments[0] <= moments[1] <= time.time()


@pytest.mark.usefixtures("etp_registry")
async def test_without_rooms_with_history_nothing_is_noted() -> None:
    assert await both() == ["None", "None"]


@pytest.mark.usefixtures("etp_registry")
async def test_a_history_that_cannot_be_reached_fails_no_request(
    settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.ETP = {
        "HISTORY": {"BACKEND": "django_etp.history.RedisHistory", "OPTIONS": {"url": "redis://127.0.0.1:1"}}
    }
    declare()
    async with guest():  # the process has a hub with these settings
        assert await both() == ["None", "None"]
    assert "could not be reached" in caplog.text
