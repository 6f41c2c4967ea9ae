"""The live page in the admin: who sees it, who may act, and what the log says then."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import connections
from django.http import HttpResponse
from django.test import AsyncClient, Client
from django.urls import resolve, reverse

from django_etp.exceptions import IncompleteAnswer
from django_etp.hub.process import serving_hub
from django_etp.rooms.queries import LeaveRooms
from tests.support.rooms import RoomClient, clients

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.urls("tests.support.admin_urls"),
    pytest.mark.usefixtures("etp_registry", "etp_communicator"),
]

PAGE = "/admin/django_etp/live/"
PAGES = ["", "rooms/", "room/?namespace=default&name=lobby", "connection/?id=gone"]


def staff(*permissions: str, **fields: Any) -> User:
    """Return a user who may log in to the admin, with permissions of the live page."""
    user = User.objects.create_user("staff", is_staff=True, **fields)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return user


@pytest.fixture
def log_in() -> Callable[..., Any]:
    """`await log_in("view_live")` returns a browser of the staff with permissions."""

    async def log_in(*permissions: str, **options: Any) -> AsyncClient:
        user = await User.objects.acreate(username="staff", is_staff=True)
        found = Permission.objects.filter(codename__in=permissions)
        await user.user_permissions.aset([permission async for permission in found])
        browser = AsyncClient(**options)
        await browser.aforce_login(user)
        return browser

    return log_in


def data_of(page: str) -> str:
    path, _, query = page.partition("?")
    return f"{path}data/?{query}"


async def log() -> list[tuple[str, str, str]]:
    """Return what the admin's log says, with the name of the content type."""
    entries = LogEntry.objects.select_related("content_type").order_by("pk")
    return [(str(each.content_type), each.object_repr, each.change_message) async for each in entries]


async def texts(browser: AsyncClient, answer: HttpResponse) -> list[str]:
    """Follow a redirect, and return the messages of the page."""
    assert answer.status_code == 302
    page = await browser.get(answer.headers["Location"])
    return [str(message) for message in page.context["messages"]]


# Who sees it


def test_the_index_links_to_it_for_those_who_may_see_it(client: Client) -> None:
    user = staff()
    client.force_login(user)
    assert PAGE not in client.get("/admin/").content.decode()
    user.user_permissions.set(Permission.objects.filter(codename="view_live"))
    page = client.get("/admin/").content.decode()
    assert f'href="{PAGE}"' in page
    assert f"{PAGE}add/" not in page
    assert reverse("admin:django_etp_live") == PAGE


@pytest.mark.parametrize("page", [*PAGES, *map(data_of, PAGES)])
def test_it_is_for_staff_with_the_permission(client: Client, page: str) -> None:
    assert client.get(PAGE + page).headers["Location"].startswith("/admin/login/")
    user = staff()
    client.force_login(user)
    assert client.get(PAGE + page).status_code == 403
    user.user_permissions.set(Permission.objects.filter(codename="view_live"))
    assert client.get(PAGE + page).status_code == 200
    User.objects.update(is_staff=False)
    assert client.get(PAGE + page).headers["Location"].startswith("/admin/login/")


@pytest.mark.parametrize("page", PAGES)
def test_who_may_only_look_sees_no_actions_and_cannot_act(client: Client, page: str) -> None:
    user = staff("view_live")
    client.force_login(user)
    assert 'name="action"' not in client.get(PAGE + page).content.decode()
    for action in ("disconnect", "message", "leave"):
        assert client.post(PAGE + page, {"action": action, "event": "news", "to": "user"}).status_code == 403
    user.user_permissions.set(Permission.objects.filter(codename="change_live"))
    assert ('name="action"' in client.get(PAGE + page).content.decode()) == ("?" in page)
    assert client.post(PAGE + page, {"action": "explode"}).status_code == 403
    assert client.put(PAGE + page).status_code == 405


def test_actions_are_safe_from_other_sites() -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(staff("change_live"))
    for page in PAGES[2:]:
        assert client.post(PAGE + page, {"action": "message", "event": "news"}).status_code == 403
        assert client.get(PAGE + page).content.decode().count("csrfmiddlewaretoken") >= 3


def test_data_is_no_page_to_post_to(client: Client) -> None:
    client.force_login(staff("change_live"))
    assert client.post(f"{PAGE}data/").status_code == 405
    answer = client.get(f"{PAGE}data/?after=soon")
    assert (answer.status_code, "a key has two parts" in answer.json()["problem"]) == (400, True)


def test_names_from_outside_are_text(client: Client) -> None:
    client.force_login(staff("change_live"))
    hostile = '"><script>alert(1)</script>'
    for page, name in {"": "q", "rooms/": "q", "room/": "name", "connection/": "id"}.items():
        body = client.get(PAGE + page, {name: hostile, "namespace": hostile}).content.decode()
        assert "<script>alert" not in body
        assert "&lt;script&gt;alert" in body


def test_an_own_admin_site_has_a_page_of_its_own(client: Client) -> None:
    client.force_login(staff("change_live"))
    page = client.get("/staff/django_etp/live/").content.decode()
    assert 'href="/staff/django_etp/live/rooms/"' in page
    assert 'data-connection-url="/staff/django_etp/live/connection/"' in page
    assert "/admin/" not in page.replace("django_etp/admin/", "").replace("static/admin/", "")
    answer = client.post(
        "/staff/django_etp/live/connection/?id=gone", {"action": "message", "event": "a", "to": "user"}
    )
    assert answer.headers["Location"] == "/staff/django_etp/live/"


# What it shows


@asynccontextmanager
async def ada_in(*rooms_joined: str) -> AsyncIterator[RoomClient]:
    ada = await User.objects.acreate(username="Ada <b>")
    async with clients(" ".join(rooms_joined), user=ada) as (client,):
        yield client


async def test_the_data_has_connections_rooms_and_a_connection(log_in: Callable[..., Any]) -> None:
    browser = await log_in("view_live")
    async with ada_in("lobby") as ada, clients("lobby") as (other,):
        data = (await browser.get(f"{PAGE}data/")).json()
        assert [(row["id"], row["username"]) for row in data["rows"]] == [(other.id, ""), (ada.id, "Ada <b>")]
        assert (data["total"], data["summary"]["connections"], data["problem"]) == (2, 2, "")
        assert [row["id"] for row in (await browser.get(f"{PAGE}data/?q=ADA")).json()["rows"]] == [ada.id]
        data = (await browser.get(f"{PAGE}rooms/data/")).json()
        assert data["rows"] == [{"namespace": "default", "name": "lobby", "members": 2}]
        data = (await browser.get(f"{PAGE}room/data/?namespace=default&name=lobby&q=ada")).json()
        assert [row["id"] for row in data["rows"]] == [ada.id]
        data = (await browser.get(f"{PAGE}connection/data/?id={ada.id}")).json()
        assert (data["row"]["username"], data["rooms"]) == ("Ada <b>", ["lobby"])


async def test_looking_writes_nothing(log_in: Callable[..., Any]) -> None:
    browser = await log_in("view_live")
    async with ada_in("lobby") as ada:
        for page in (*PAGES, f"connection/?id={ada.id}"):
            await browser.get(PAGE + page)
            await browser.get(PAGE + data_of(page))
        await ada.expect_nothing(timeout=0.01)
    assert await log() == []


# What it does


async def test_a_connection_is_closed_and_the_log_says_so(log_in: Callable[..., Any]) -> None:
    browser = await log_in("change_live")
    async with ada_in("lobby") as ada:
        url = f"{PAGE}connection/?id={ada.id}"
        answer = await browser.post(url, {"action": "disconnect", "code": "1000", "reason": "be nice"})
        assert (await ada.expect_close(1000)).reason == "be nice"
        assert await texts(browser, answer) == [f"connection {ada.id} of Ada <b>: Closed with 1000: be nice"]
        assert answer.headers["Location"] == PAGE
        assert await log() == [
            ("Event Transport Protocol | live page", f"connection {ada.id} of Ada <b>", "Closed with 1000: be nice")
        ]
        again = await browser.post(url, {"action": "disconnect", "code": "1000"})
        assert await texts(browser, again) == ["The connection has ended."]
    assert len(await log()) == 1


@pytest.mark.parametrize(("to", "target"), [("connection", "connection {id} of Ada <b>"), ("user", "user Ada <b>")])
async def test_a_message_goes_to_a_connection_or_its_user(log_in: Callable[..., Any], to: str, target: str) -> None:
    browser = await log_in("change_live")
    async with ada_in("lobby") as ada:
        values = {"action": "message", "event": "note", "payload": '{"id": 7}', "to": to}
        answer = await browser.post(f"{PAGE}connection/?id={ada.id}", values)
        assert json.loads((await ada.expect_event("note")).data) == {"id": 7}
        await ada.expect_nothing(timeout=0.01)
        assert answer.headers["Location"] == f"{PAGE}connection/?id={ada.id}"
        assert [entry[1:] for entry in await log()] == [(target.format(id=ada.id), "Sent the event note.")]


async def test_a_message_goes_to_a_room(log_in: Callable[..., Any]) -> None:
    browser = await log_in("change_live")
    async with ada_in("lobby") as ada, clients("kitchen") as (other,):
        values = {"action": "message", "event": "note", "payload": ""}
        await browser.post(f"{PAGE}room/?namespace=default&name=lobby", values)
        assert (await ada.expect_event("note")).data == ""
        await other.expect_nothing(timeout=0.01)
    assert [entry[1:] for entry in await log()] == [("room lobby", "Sent the event note.")]


async def test_a_connection_is_taken_out_of_a_room(log_in: Callable[..., Any]) -> None:
    browser = await log_in("change_live")
    async with ada_in("lobby", "kitchen", "attic") as ada:
        for url, room in {
            f"{PAGE}connection/?id={ada.id}": "lobby",
            f"{PAGE}room/?namespace=default&name=kitchen": "kitchen",
        }.items():
            answer = await browser.post(url, {"action": "leave", "connection": ada.id, "room": room})
            assert answer.headers["Location"] == url
        assert ada.connection.rooms == {"attic"}
    assert [message for *_, message in await log()] == [
        "Taken out of the room lobby.",
        "Taken out of the room kitchen.",
    ]


async def test_a_form_that_is_wrong_comes_back_with_what_was_typed(log_in: Callable[..., Any]) -> None:
    browser = await log_in("change_live")
    async with ada_in("lobby") as ada:
        answer = await browser.post(
            f"{PAGE}connection/?id={ada.id}", {"action": "message", "event": "note", "payload": "{", "to": "user"}
        )
        body = answer.content.decode()
        assert (answer.status_code, "This is not JSON" in body, 'value="note"' in body) == (400, True, True)
        await ada.expect_nothing(timeout=0.01)
    assert await log() == []


async def test_what_cannot_be_is_said_and_not_logged(log_in: Callable[..., Any]) -> None:
    browser = await log_in("change_live")
    url = f"{PAGE}room/?namespace=default&name=__user.1"
    answer = await browser.post(url, {"action": "message", "event": "note"})
    assert "reserved for the library" in (await texts(browser, answer))[0]
    assert await log() == []


async def test_what_was_not_confirmed_is_logged_as_that(
    log_in: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = await log_in("change_live")
    async with ada_in("lobby") as ada:
        ask = serving_hub().ask

        async def late(hub: Any, action: str, *args: Any, **options: Any) -> Any:
            if action == LeaveRooms.action:
                raise IncompleteAnswer("no reply", answer=[None])
            return await ask(hub, action, *args, **options)

        monkeypatch.setattr(serving_hub(), "ask", late)
        url = f"{PAGE}connection/?id={ada.id}"
        answer = await browser.post(url, {"action": "leave", "connection": ada.id, "room": "lobby"})
        assert "Not confirmed: Taken out of the room lobby. no reply" in (await texts(browser, answer))[0]
    assert [message for *_, message in await log()] == ["Not confirmed: Taken out of the room lobby. no reply"]


@pytest.mark.parametrize("page", PAGES)
def test_an_event_is_sent_outside_of_a_transaction(page: str) -> None:
    """With ATOMIC_REQUESTS other views are inside one, and the event would go out before the commit."""
    view: Any = resolve((PAGE + page).partition("?")[0]).func
    assert view._non_atomic_requests == set(connections)
