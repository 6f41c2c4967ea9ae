"""Test the example chat without a browser: its pages by Django's test client, its events by the testing kit.

`test_example_project.py` runs this file under the example's settings.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import AsyncClient, Client, override_settings

from django_etp import rooms
from django_etp.exceptions import EventFailed
from django_etp.history import memory
from django_etp.testing import EtpCommunicator, JoinedRoom
from example_project.chat.etp_events import chat_room
from example_project.chat.rooms import Room

pytestmark = pytest.mark.django_db

OpenPage = Callable[..., AbstractAsyncContextManager[EtpCommunicator]]


@pytest.fixture(autouse=True)
def fast_passwords(settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(autouse=True)
def histories_in_memory(settings: Any) -> None:
    """Keep histories in memory: the database's have transactions of their own, past the one of the test."""
    memory.forget_all()
    settings.ETP = {**settings.ETP, "HISTORY": {}}


@pytest.fixture
def ada() -> User:
    return User.objects.create_user("Ada")


@pytest.fixture
def grace() -> User:
    return User.objects.create_user("Grace")


def seed() -> None:
    """Run `manage.py seed` as in development."""
    with override_settings(DEBUG=True):
        call_command("seed")


@pytest.fixture
def host() -> User:
    seed()
    return User.objects.get(username="Host")


@pytest.fixture
def page(etp_communicator: type[EtpCommunicator]) -> OpenPage:
    """`async with page(user=ada) as client:` connects as the chat's page does."""

    @asynccontextmanager
    async def open_page(**options: Any) -> AsyncIterator[EtpCommunicator]:
        async with etp_communicator(subprotocols=["etp.ext.v2"], **options) as client:
            await client.expect_event("__hello")
            yield client

    return open_page


async def logged_in(user: User) -> AsyncClient:
    """Return a test client with a logged-in user."""
    browser = AsyncClient()
    await browser.aforce_login(user)
    return browser


def cookies(browser: AsyncClient) -> list[tuple[str, str]]:
    """Return the headers that a browser sends in the handshake."""
    return [("cookie", f"sessionid={browser.cookies['sessionid'].value}")]


async def past(room: str) -> list[dict[str, Any]]:
    """Return the messages in the history of a room."""
    return [event.json() for event in await rooms.ahistory(f"rooms/{room}")]


# Logging in


def log_in(client: Client, name: str, password: str = "") -> Any:
    return client.post("/login/", {"name": name, "password": password})


@pytest.mark.parametrize(
    "name", ["Ada", "Ada Lovelace", "Jean-Luc", "O'Neil", "O\u2019Neil", "Łukasz", "李", "हिन्दी", "x" * 24]
)
def test_anyone_may_come_in_under_a_name(client: Client, name: str) -> None:
    response = log_in(client, name)
    assert response.status_code == 302
    assert client.get("/rooms/lobby/").context["user"].username == name
    assert not User.objects.get(username=name).has_usable_password()


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("", "Choose a name first."),
        ("   ", "Choose a name first."),
        ("x" * 25, "A name may have up to 24 characters."),
        ("<b>", "A name may hold letters, digits, spaces and . &#x27; - _ only."),
        ("a\u202eb", "A name may hold letters, digits, spaces and . &#x27; - _ only."),
        ("a\nb", "A name may hold letters, digits, spaces and . &#x27; - _ only."),
    ],
)
def test_other_names_are_refused_in_words(client: Client, name: str, complaint: str) -> None:
    assert complaint in log_in(client, name).content.decode()
    assert not User.objects.exists()


def test_one_name_is_one_user_however_it_is_written(client: Client) -> None:
    log_in(client, "Ada Lovelace")
    log_in(client, "  ada   LOVELACE ")
    assert [user.username for user in User.objects.all()] == ["Ada Lovelace"]


def test_two_users_of_one_name_whom_a_race_has_made_come_in_as_the_first(client: Client) -> None:
    User.objects.create_user("Ada")
    User.objects.create_user("ada")
    log_in(client, "ada")
    assert client.get("/rooms/lobby/").context["user"].username == "Ada"


@pytest.mark.parametrize(
    "fields", [{"is_active": False}, {"is_staff": True}, {"is_superuser": True}, {"password": make_password("secret")}]
)
def test_a_name_alone_is_enough_for_guests_only(client: Client, ada: User, fields: dict[str, Any]) -> None:
    User.objects.filter(pk=ada.pk).update(**fields)
    assert "This name belongs to another user." in log_in(client, "ADA").content.decode()
    assert client.get("/rooms/lobby/").status_code == 302


@pytest.mark.parametrize(("name", "password"), [("Ada", "wrong"), ("Grace", "secret"), ("Nobody", "secret")])
def test_a_wrong_password_is_refused_in_words(client: Client, ada: User, grace: User, name: str, password: str) -> None:
    ada.set_password("secret")
    ada.save()
    assert "This is not the password of a user of this name." in log_in(client, name, password).content.decode()
    assert client.get("/rooms/lobby/").status_code == 302
    assert User.objects.count() == 2


def test_a_user_who_was_switched_off_does_not_come_in_with_the_password(client: Client, host: User) -> None:
    host.is_active = False
    host.save()
    assert "This is not the password" in log_in(client, "Host", "parlour").content.decode()
    assert client.get("/rooms/lobby/").status_code == 302


def test_the_way_back_leads_to_the_room_asked_for(client: Client) -> None:
    response = client.get("/rooms/kitchen/")
    assert response.url == "/login/?next=/rooms/kitchen/"
    assert client.post(response.url, {"name": "Ada", "next": "/rooms/kitchen/"}).url == "/rooms/kitchen/"


def test_the_way_back_never_leads_elsewhere(client: Client) -> None:
    assert client.post("/login/", {"name": "Ada", "next": "https://evil.example/"}).url == "/"


def test_logging_out_takes_a_post(client: Client, ada: User) -> None:
    client.force_login(ada)
    assert client.get("/logout/").status_code == 405
    assert client.post("/logout/").url == "/login/"
    assert client.get("/rooms/lobby/").status_code == 302


@pytest.mark.parametrize("path", ["/login/", "/logout/", "/rooms/lobby/announce/"])
def test_forms_are_safe_from_other_sites(ada: User, path: str) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(ada)
    assert client.post(path).status_code == 403


# Rooms


@pytest.mark.parametrize("room", Room)
def test_each_room_has_a_page(client: Client, ada: User, room: Room) -> None:
    client.force_login(ada)
    assert f'<h1 id="room-name">{room.label}</h1>' in client.get(f"/rooms/{room}/").content.decode()


def test_there_are_no_other_rooms(client: Client, ada: User) -> None:
    client.force_login(ada)
    assert client.get("/rooms/cellar/").status_code == 404


def test_the_first_page_is_the_lobby(client: Client, ada: User) -> None:
    client.force_login(ada)
    assert client.get("/").url == "/rooms/lobby/"


async def test_the_last_room_is_where_the_next_page_opens(page: OpenPage, ada: User) -> None:
    browser = await logged_in(ada)
    async with page(headers=cookies(browser)) as socket:
        for room in ("workshop", "kitchen"):
            await enter(socket, room)
    assert (await browser.get("/")).url == "/rooms/kitchen/"


@pytest.mark.parametrize("last", ["cellar", None, 7])
def test_a_last_room_that_is_no_more_leads_to_the_lobby(client: Client, ada: User, last: Any) -> None:
    client.force_login(ada)
    session = client.session
    session["room"] = last
    session.save()
    assert client.get("/").url == "/rooms/lobby/"


async def test_logging_out_ends_the_sockets_of_all_tabs(page: OpenPage, ada: User) -> None:
    browser, device = await logged_in(ada), await logged_in(ada)
    async with (
        page(headers=cookies(browser)) as tab,
        page(headers=cookies(browser)) as another_tab,
        page(headers=cookies(device)) as elsewhere,
    ):
        await browser.post("/logout/")
        for socket in (tab, another_tab):
            await socket.expect_close(4401)
        assert (await enter(elsewhere, "lobby")).state["name"] == "Ada"


# Announcements


def announced(room: str) -> list[tuple[str, str, bool]]:
    """Return author and text of what is in the history of a room, and whether it is an announcement."""
    messages = [event.json() for event in rooms.history(f"rooms/{room}")]
    return [(message["name"], message["text"], message["is_announcement"]) for message in messages]


def test_an_announcement_is_kept(client: Client, ada: User) -> None:
    client.force_login(ada)
    assert client.post("/rooms/kitchen/announce/", {"text": "Tea"}).url == "/rooms/kitchen/"
    assert announced("kitchen") == [("Ada", "Tea", True)]


def test_the_end_of_a_line_is_one_character_of_an_announcement(client: Client, ada: User) -> None:
    client.force_login(ada)
    assert client.post("/rooms/kitchen/announce/", {"text": "x\r\n" * 249 + "xx"}).status_code == 302
    assert announced("kitchen") == [("Ada", "x\n" * 249 + "xx", True)]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "Write something first."),
        (" \n ", "Write something first."),
        ("x" * 501, "That is too long: up to 500 characters, please; these are 501."),
    ],
)
def test_a_bad_announcement_is_refused_in_words(client: Client, ada: User, text: str, complaint: str) -> None:
    client.force_login(ada)
    page = client.post("/rooms/lobby/announce/", {"text": text})
    assert (page.status_code, complaint in page.content.decode()) == (400, True)
    answer = client.post("/rooms/lobby/announce/", {"text": text}, headers={"Accept": "application/json"})
    assert (answer.status_code, answer.json()) == (400, {"error": complaint})


def test_an_announcement_takes_a_post_of_somebody_logged_in(client: Client, ada: User) -> None:
    assert client.post("/rooms/lobby/announce/", {"text": "Tea"}).status_code == 302
    client.force_login(ada)
    assert client.get("/rooms/lobby/announce/").status_code == 405
    assert announced("lobby") == []


async def test_an_announcement_reaches_everybody_in_the_room(page: OpenPage, ada: User, grace: User) -> None:
    http = AsyncClient()
    await http.aforce_login(ada)
    async with page(user=ada) as first, page(user=grace) as second:
        lobby = await enter(first, "lobby")
        await enter(second, "kitchen")
        response = await http.post("/rooms/lobby/announce/", {"text": "Tea"}, headers={"Accept": "application/json"})
        assert response.json() == {}
        announcement = (await lobby.expect_event("message")).json()
        assert (announcement["name"], announcement["text"], announcement["is_announcement"]) == ("Ada", "Tea", True)
        await second.expect_nothing()


# Events


async def enter(client: EtpCommunicator, room: str) -> JoinedRoom:
    return await client.join(f"rooms/{room}")


def names(room: JoinedRoom) -> list[str]:
    return [entry["info"]["name"] for entry in room.members.values()]


def saying(text: str, *, key: str = "k1") -> dict[str, str]:
    return {"text": text, "key": key}


async def test_who_is_not_logged_in_is_told_to_stay_away(etp_communicator: type[EtpCommunicator]) -> None:
    client = etp_communicator()
    await client.connect()
    await client.expect_close(4403)
    await client.disconnect()


async def test_a_room_has_its_past(page: OpenPage, ada: User, grace: User) -> None:
    async with page(user=ada) as client:
        lobby, kitchen = await enter(client, "lobby"), await enter(client, "kitchen")
        for key, text in enumerate(("one", "two", "three")):
            await lobby.emit_with_ack("say", saying(text, key=str(key)))
        await kitchen.emit_with_ack("say", saying("elsewhere"))
    async with page(user=grace) as client:
        lobby = await enter(client, "lobby")
        assert lobby.state == {"name": "Grace"}
        latest = await lobby.history(limit=2)
        assert [event.json()["text"] for event in latest] == ["two", "three"]
        before = await lobby.history(limit=2, before=latest[0].position)
        assert [event.json()["text"] for event in before] == ["one"]
        assert await lobby.history(before=before[0].position) == []


async def test_who_returns_gets_what_was_said_meanwhile(page: OpenPage, ada: User, grace: User) -> None:
    async with page(user=ada) as first:
        position = (await enter(first, "lobby")).position
    async with page(user=grace) as second:
        await (await enter(second, "lobby")).emit_with_ack("say", saying("Are you there?"))
    async with page(user=ada) as first:
        lobby = await first.join("rooms/lobby", since=position)
        assert lobby.recovered
        assert (await lobby.expect_event("message")).json()["text"] == "Are you there?"


@pytest.mark.parametrize("room", ["rooms/cellar", "rooms/", "lobby"])
async def test_there_is_no_entering_other_rooms(page: OpenPage, ada: User, room: str) -> None:
    async with page(user=ada) as client:
        with pytest.raises(EventFailed) as refusal:
            await client.join(room)
        assert refusal.value.code == "not_found"
        await client.expect_nothing()


async def test_members_learn_who_comes_and_goes(page: OpenPage, ada: User, grace: User) -> None:
    async with page(user=ada) as first, page(user=grace) as second:
        ours = await enter(first, "lobby")
        assert names(ours) == ["Ada"]
        theirs = await enter(second, "lobby")
        assert names(theirs) == ["Ada", "Grace"]
        await ours.expect_presence()
        assert names(ours) == ["Ada", "Grace"]
        await theirs.leave()
        await ours.expect_presence()
        assert names(ours) == ["Ada"]
        assert names(await enter(second, "kitchen")) == ["Grace"]
        await first.expect_nothing()


async def test_a_user_with_two_windows_is_one_member(page: OpenPage, ada: User) -> None:
    async with page(user=ada) as first, page(user=ada) as second:
        await enter(first, "lobby")
        lobby = await enter(second, "lobby")
        assert [(entry["info"], entry["connections"]) for entry in lobby.members.values()] == [({"name": "Ada"}, 2)]


async def test_a_message_is_confirmed_kept_and_sent_to_the_others(page: OpenPage, ada: User, grace: User) -> None:
    async with page(user=ada) as first, page(user=grace) as second:
        ours, theirs = await enter(first, "lobby"), await enter(second, "lobby")
        await ours.expect_presence()
        confirmed = (await ours.emit_with_ack("say", saying("  Hello\nGrace  "))).json()["message"]
        assert (confirmed["name"], confirmed["text"], confirmed["key"]) == ("Ada", "Hello\nGrace", "k1")
        for room in (ours, theirs):
            assert (await room.expect_event("message")).json() == confirmed
    assert await past("lobby") == [confirmed]


async def test_a_message_sent_again_has_the_same_key(page: OpenPage, ada: User, grace: User) -> None:
    """Pages show it once. The others may have missed the first one."""
    async with page(user=ada) as first, page(user=grace) as second:
        ours, theirs = await enter(first, "lobby"), await enter(second, "lobby")
        for _ in range(2):
            await ours.emit_with_ack("say", saying("Hello"))
        assert [(await theirs.expect_event("message")).json()["key"] for _ in range(2)] == ["k1", "k1"]


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        (saying(""), "Write something first."),
        (saying(" \n "), "Write something first."),
        (saying("x" * 501), "That is too long: up to 500 characters, please; these are 501."),
        (saying("nul \x00"), "Null characters are not allowed."),
    ],
)
async def test_a_bad_message_is_refused_in_words(
    page: OpenPage, ada: User, fields: dict[str, str], complaint: str
) -> None:
    async with page(user=ada) as client:
        lobby = await enter(client, "lobby")
        assert (await lobby.emit_with_ack("say", fields)).json() == {"error": complaint}
    assert await past("lobby") == []


@pytest.mark.parametrize("data", [{}, [], 7, saying("Hello", key=""), saying("Hello", key="not a key")])
async def test_an_incomplete_message_is_refused(page: OpenPage, ada: User, data: Any) -> None:
    async with page(user=ada) as client:
        lobby = await enter(client, "lobby")
        assert "error" in (await lobby.emit_with_ack("say", data)).json()


async def test_typing_shows_to_the_others_in_the_room(page: OpenPage, ada: User, grace: User) -> None:
    async with page(user=ada) as first, page(user=grace) as second, page(user=grace) as elsewhere:
        ours, theirs = await first.join("typing/lobby"), await second.join("typing/lobby")
        await elsewhere.join("typing/kitchen")
        await ours.emit("typing")
        assert (await theirs.expect_event("typing")).json() == {"name": "Ada"}
        await first.expect_nothing()
        await elsewhere.expect_nothing()


@pytest.mark.parametrize(("room", "event"), [("rooms/lobby", "say"), ("typing/lobby", "typing")])
async def test_events_of_a_room_are_for_those_inside(page: OpenPage, ada: User, room: str, event: str) -> None:
    async with page(user=ada) as client:
        lobby = await client.join(room)
        await lobby.leave()
        with pytest.raises(EventFailed) as refusal:
            await lobby.emit_with_ack(event, saying("Hello"))
        assert refusal.value.code == "permission_denied"
    assert await past("lobby") == []


# The room of the staff


async def expect_closed(client: EtpCommunicator) -> None:
    for room in ("rooms/office", "typing/office"):
        with pytest.raises(EventFailed) as refusal:
            await client.join(room)
        assert refusal.value.code == "permission_denied"


async def test_the_office_is_for_the_staff(page: OpenPage, ada: User, host: User) -> None:
    async with page(user=ada) as client, page(user=host) as staff:
        await expect_closed(client)
        office = await enter(staff, "office")
        assert (office.state["name"], names(office)) == ("Host", ["Host"])
        await client.expect_nothing()  # the others do not learn who is in the office


async def set_staff(user: User, is_staff: bool) -> None:
    user = await User.objects.aget(pk=user.pk)  # the connection has another object of the user
    user.is_staff = is_staff
    await user.asave()


@pytest.mark.django_db(transaction=True)
async def test_who_joins_the_staff_may_enter_at_once(page: OpenPage, ada: User) -> None:
    async with page(user=ada) as client:
        await expect_closed(client)
        await set_staff(ada, True)
        assert (await client.expect_event("rights")).json() == {"is_staff": True}
        assert (await client.join("rooms/office")).state["name"] == "Ada"


@pytest.mark.django_db(transaction=True)
async def test_who_leaves_the_staff_is_taken_out(page: OpenPage, host: User) -> None:
    async with page(user=host) as client:
        await client.join("rooms/office")
        await set_staff(host, False)
        events = [await client.expect_event(), await client.expect_event()]
        assert {event.name for event in events} == {"rights", "__left"}
        await rooms.aemit(chat_room(room=Room.OFFICE), "message", {})
        await client.expect_nothing()
        await expect_closed(client)


def test_the_office_takes_announcements_of_the_staff_only(client: Client, ada: User, host: User) -> None:
    client.force_login(ada)
    assert client.post("/rooms/office/announce/", {"text": "Tea"}).status_code == 403
    client.force_login(host)
    assert client.post("/rooms/office/announce/", {"text": "Tea"}).status_code == 302
    assert announced("office") == [("Host", "Tea", True)]


def test_host_comes_in_with_the_password_and_finds_the_live_page_alone_in_the_admin(client: Client, host: User) -> None:
    log_in(client, "Host", "parlour")
    assert client.get("/rooms/office/").context["user"] == host
    (app,) = client.get("/admin/").context["app_list"]
    assert [model["admin_url"] for model in app["models"]] == ["/admin/django_etp/live/"]
    assert app["models"][0]["perms"]["change"]


def test_host_stays_logged_in_when_the_demo_starts_again(client: Client, host: User) -> None:
    log_in(client, "Host", "parlour")
    seed()
    assert client.get("/rooms/office/").context["user"] == host


def test_a_guest_who_had_the_name_is_logged_out(client: Client) -> None:
    log_in(client, "Host")
    assert not client.get("/rooms/lobby/").context["user"].is_staff
    seed()
    assert client.get("/rooms/lobby/").status_code == 302


def test_a_password_that_everybody_knows_is_for_development_only() -> None:
    with pytest.raises(CommandError, match="DEBUG = True only"):
        call_command("seed")
    assert not User.objects.exists()
