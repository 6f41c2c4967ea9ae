"""The element of a room with history in a page."""

from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.template import Context, Engine, RequestContext, TemplateSyntaxError
from django.test import RequestFactory

from django_etp import Connection, History, InvalidRoomName, NoRoomMatch, etp_room, rooms
from django_etp.middleware import PositionMiddleware
from tests.support.declared import guest

ENGINE = Engine(libraries={"etp": "django_etp.templatetags.etp"})


@pytest.fixture(autouse=True)
def order_room(etp_registry: Any) -> Any:
    @etp_room("orders/<str:name>", history=History())
    async def order_room(connection: Connection, name: str) -> None: ...

    return order_room


def page(tag: str, before: Callable[[], object] = lambda: None, **context: Any) -> str:
    """Return what a view renders that calls a function before."""

    def view(request: HttpRequest) -> HttpResponse:
        before()
        return HttpResponse(ENGINE.from_string("{% load etp %}" + tag).render(RequestContext(request, context)))

    response = PositionMiddleware(view)(RequestFactory().get("/"))
    assert isinstance(response, HttpResponse)
    return response.content.decode()


async def render(*args: Any, **context: Any) -> str:
    return await sync_to_async(page)(*args, **context)


async def test_the_position_is_that_of_the_beginning_of_the_request(order_room: Any) -> None:
    async with guest() as client:
        for number in range(20):
            await rooms.aemit("orders/5", "changed", number)
            position = await rooms.aposition("orders/5")
            text = await render("{% etp_room room name=5 %}", lambda: rooms.emit("orders/5", "late"), room=order_room)
            assert text == f'<etp-room name="orders/5" position="{position}"></etp-room>'
            room = await client.join("orders/5", since=position)
            assert room.recovered
            assert (await room.expect_event()).name == "late"
            await room.leave()


@pytest.mark.parametrize(
    "tag", ["{% etp_room order_room name='a' %}", "{% etp_room 'orders/a' %}", "{% etp_room name %}"]
)
async def test_a_room_is_named_by_its_function_or_as_text(tag: str) -> None:
    position = await rooms.aposition("orders/a")
    assert await render(tag, name="orders/a") == f'<etp-room name="orders/a" position="{position}"></etp-room>'


async def test_names_are_escaped(order_room: Any) -> None:
    assert '<etp-room name="orders/&quot;&lt;b&gt;" position="' in await render(
        "{% etp_room room name=name %}", room=order_room, name='"<b>'
    )


async def test_a_page_without_a_history_that_answers_has_no_position(settings: Any) -> None:
    settings.ETP = {
        "HISTORY": {"BACKEND": "django_etp.history.RedisHistory", "OPTIONS": {"url": "redis://127.0.0.1:1"}}
    }
    async with guest():
        assert await render("{% etp_room order_room name='a' %}") == '<etp-room name="orders/a"></etp-room>'


@pytest.mark.parametrize(
    ("tag", "error"),
    [
        ("{% etp_room %}", TemplateSyntaxError),
        ("{% etp_room order_room 5 %}", TemplateSyntaxError),
        ("{% etp_room nosuch name='a' %}", TemplateSyntaxError),
        ("{% etp_room order_room pk=5 %}", NoRoomMatch),
        ("{% etp_room 'lobby' %}", InvalidRoomName),
    ],
)
async def test_another_room_is_an_error(tag: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        await render(tag)


def test_the_middleware_is_needed() -> None:
    template = ENGINE.from_string("{% load etp %}{% etp_room order_room name='a' %}")
    for context in (Context(), RequestContext(RequestFactory().get("/"))):
        with pytest.raises(ImproperlyConfigured, match="PositionMiddleware"):
            template.render(context)
