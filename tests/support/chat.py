"""Test the example chat without a browser: its pages by Django's test client, its events by the testing kit.

`test_example_project.py` runs this file under the example's settings.
"""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import AsyncClient, Client

from django_etp.testing import EtpCommunicator
from example_project.chat.etp_events import HISTORY_LENGTH
from example_project.chat.models import Message, Room

pytestmark = pytest.mark.django_db

Communicator = type[EtpCommunicator]


@pytest.fixture
def ada() -> User:
    return User.objects.create_user("Ada")


@pytest.fixture
def grace() -> User:
    return User.objects.create_user("Grace")


async def logged_in(user: User) -> AsyncClient:
    """Return a test client with a logged-in user."""
    browser = AsyncClient()
    await browser.aforce_login(user)
    return browser


def cookies(browser: AsyncClient) -> list[tuple[str, str]]:
    """Return the headers that a browser sends in the handshake."""
    return [("cookie", f"sessionid={browser.cookies['sessionid'].value}")]


# Logging in


def log_in(client: Client, name: str) -> Any:
    return client.post("/login/", {"name": name})


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


def test_nobody_comes_in_as_a_user_with_a_password(client: Client) -> None:
    User.objects.create_superuser("admin", password="secret")
    assert "This name belongs to another user." in log_in(client, "Admin").content.decode()
    assert client.get("/rooms/lobby/").status_code == 302


def test_nobody_comes_in_as_a_user_who_was_switched_off(client: Client, ada: User) -> None:
    ada.is_active = False
    ada.save()
    assert "This name belongs to another user." in log_in(client, "Ada").content.decode()


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


async def test_the_last_room_is_where_the_next_page_opens(etp_communicator: Communicator, ada: User) -> None:
    browser = await logged_in(ada)
    async with etp_communicator(headers=cookies(browser)) as socket:
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


async def test_logging_out_ends_the_sockets_of_all_tabs(etp_communicator: Communicator, ada: User) -> None:
    browser, device = await logged_in(ada), await logged_in(ada)
    async with (
        etp_communicator(headers=cookies(browser)) as tab,
        etp_communicator(headers=cookies(browser)) as another_tab,
        etp_communicator(headers=cookies(device)) as elsewhere,
    ):
        await browser.post("/logout/")
        for socket in (tab, another_tab):
            await socket.expect_close(4401)
        assert (await enter(elsewhere, "lobby"))["name"] == "Ada"


# Announcements


def test_an_announcement_is_kept(client: Client, ada: User) -> None:
    client.force_login(ada)
    assert client.post("/rooms/kitchen/announce/", {"text": "Tea"}).url == "/rooms/kitchen/"
    message = Message.objects.get()
    assert (message.room, message.author, message.text, message.is_announcement) == ("kitchen", ada, "Tea", True)


def test_the_end_of_a_line_is_one_character_of_an_announcement(client: Client, ada: User) -> None:
    client.force_login(ada)
    assert client.post("/rooms/kitchen/announce/", {"text": "x\r\n" * 249 + "xx"}).status_code == 302
    assert Message.objects.get().text == "x\n" * 249 + "xx"


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
    assert not Message.objects.exists()


async def test_an_announcement_reaches_everybody_in_the_room(
    etp_communicator: Communicator, ada: User, grace: User
) -> None:
    http = AsyncClient()
    await http.aforce_login(ada)
    async with etp_communicator(user=ada) as first, etp_communicator(user=grace) as second:
        await enter(first, "lobby")
        await enter(second, "kitchen")
        await presence(first), await presence(first)
        response = await http.post("/rooms/lobby/announce/", {"text": "Tea"}, headers={"Accept": "application/json"})
        assert response.json() == {}
        announcement = (await first.expect_event("message")).json()
        assert (announcement["name"], announcement["text"], announcement["is_announcement"]) == ("Ada", "Tea", True)
        await presence(second), await presence(second)
        await second.expect_nothing()


# Events


async def enter(client: EtpCommunicator, room: str) -> Any:
    return (await client.emit_with_ack("enter", {"room": room})).json()


async def presence(client: EtpCommunicator) -> Any:
    """Return the names in each room that is not empty."""
    rooms = (await client.expect_event("presence")).json()["rooms"]
    return {room: names for room, names in rooms.items() if names}


def saying(text: str, *, room: str = "lobby", key: str = "k1") -> dict[str, str]:
    return {"room": room, "text": text, "key": key}


async def test_who_is_not_logged_in_is_told_to_stay_away(etp_communicator: Communicator) -> None:
    client = etp_communicator()
    await client.connect()
    await client.expect_close(4403)
    await client.disconnect()


async def test_entering_answers_with_name_and_history(etp_communicator: Communicator, ada: User) -> None:
    for text in ("one", "two"):
        await Message.objects.acreate(room="lobby", author=ada, text=text)
    await Message.objects.acreate(room="kitchen", author=ada, text="elsewhere")
    async with etp_communicator(user=ada) as client:
        answer = await enter(client, "lobby")
    assert answer["name"] == "Ada"
    assert [message["text"] for message in answer["history"]] == ["one", "two"]


async def test_the_history_has_an_end(etp_communicator: Communicator, ada: User) -> None:
    await Message.objects.abulk_create(
        Message(room="lobby", author=ada, text=str(number)) for number in range(HISTORY_LENGTH + 5)
    )
    async with etp_communicator(user=ada) as client:
        answer = await enter(client, "lobby")
    texts = [message["text"] for message in answer["history"]]
    assert texts == [str(number) for number in range(5, HISTORY_LENGTH + 5)]
    assert answer["follows"] == (await Message.objects.aget(text="4")).key


async def test_a_history_that_begins_with_the_first_message_follows_none(
    etp_communicator: Communicator, ada: User
) -> None:
    await Message.objects.abulk_create(
        Message(room="lobby", author=ada, text=str(number)) for number in range(HISTORY_LENGTH)
    )
    async with etp_communicator(user=ada) as client:
        answer = await enter(client, "lobby")
    assert (len(answer["history"]), answer["follows"]) == (HISTORY_LENGTH, None)


@pytest.mark.parametrize("data", [{"room": "cellar"}, {"room": {}}, {"room": None}, {}, [], 7])
async def test_there_is_no_entering_other_rooms(etp_communicator: Communicator, ada: User, data: Any) -> None:
    async with etp_communicator(user=ada) as client:
        assert "error" in (await client.emit_with_ack("enter", data)).json()
        await client.expect_nothing()


async def test_everybody_learns_who_is_where(etp_communicator: Communicator, ada: User, grace: User) -> None:
    async with etp_communicator(user=ada) as first:
        async with etp_communicator(user=grace) as second:
            await enter(first, "lobby")
            assert [await presence(client) for client in (first, second)] == [{"lobby": ["Ada"]}] * 2
            await enter(second, "lobby")
            assert [await presence(client) for client in (first, second)] == [{"lobby": ["Ada", "Grace"]}] * 2
            await enter(second, "kitchen")
            assert await presence(first) == {"lobby": ["Ada"], "kitchen": ["Grace"]}
        assert await presence(first) == {"lobby": ["Ada"]}


async def test_a_user_with_two_windows_is_named_once(etp_communicator: Communicator, ada: User) -> None:
    async with etp_communicator(user=ada) as first:
        async with etp_communicator(user=ada) as second:
            await enter(first, "lobby")
            await enter(second, "lobby")
            assert [await presence(first), await presence(first)] == [{"lobby": ["Ada"]}] * 2
        assert await presence(first) == {"lobby": ["Ada"]}


async def test_a_message_is_confirmed_kept_and_sent_to_the_others(
    etp_communicator: Communicator, ada: User, grace: User
) -> None:
    async with etp_communicator(user=ada) as first, etp_communicator(user=grace) as second:
        await enter(first, "lobby")
        await enter(second, "lobby")
        confirmed = (await first.emit_with_ack("say", saying("  Hello\nGrace  "))).json()["message"]
        assert (confirmed["name"], confirmed["text"], confirmed["key"]) == ("Ada", "Hello\nGrace", "k1")
        await presence(second), await presence(second)
        assert (await second.expect_event("message")).json() == confirmed
        await presence(first), await presence(first)
        await first.expect_nothing()
    assert (await Message.objects.aget()).text == "Hello\nGrace"


async def test_a_message_sent_again_is_the_same_message(etp_communicator: Communicator, ada: User, grace: User) -> None:
    async with etp_communicator(user=ada) as first, etp_communicator(user=grace) as second:
        await enter(second, "lobby")
        await presence(second)
        answers = [(await first.emit_with_ack("say", saying("Hello"))).json() for _ in range(2)]
        assert answers[0] == answers[1]
        # If the channel layer failed, the others have missed the first one. Pages recognise a copy by its key.
        assert [(await second.expect_event("message")).json() for _ in range(2)] == [answers[0]["message"]] * 2
        await second.expect_nothing()
    assert await Message.objects.acount() == 1


async def test_keys_of_two_authors_do_not_collide(etp_communicator: Communicator, ada: User, grace: User) -> None:
    async with etp_communicator(user=ada) as first, etp_communicator(user=grace) as second:
        await first.emit_with_ack("say", saying("Hello"))
        assert (await second.emit_with_ack("say", saying("Hi"))).json()["message"]["name"] == "Grace"


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        (saying(""), "Write something first."),
        (saying(" \n "), "Write something first."),
        (saying("x" * 501), "That is too long: up to 500 characters, please; these are 501."),
        (saying("Hello", room="cellar"), "There is no such room."),
        (saying("nul \x00"), "Null characters are not allowed."),
    ],
)
async def test_a_bad_message_is_refused_in_words(
    etp_communicator: Communicator, ada: User, fields: dict[str, str], complaint: str
) -> None:
    async with etp_communicator(user=ada) as client:
        assert (await client.emit_with_ack("say", fields)).json() == {"error": complaint}
    assert not await Message.objects.aexists()


@pytest.mark.parametrize("data", [{}, [], 7, saying("Hello", key=""), saying("Hello", key="not a key")])
async def test_an_incomplete_message_is_refused(etp_communicator: Communicator, ada: User, data: Any) -> None:
    async with etp_communicator(user=ada) as client:
        assert "error" in (await client.emit_with_ack("say", data)).json()


async def test_typing_shows_to_the_others_in_the_room(etp_communicator: Communicator, ada: User, grace: User) -> None:
    async with (
        etp_communicator(user=ada) as first,
        etp_communicator(user=grace) as second,
        etp_communicator(user=grace) as elsewhere,
    ):
        await enter(first, "lobby")
        await enter(second, "lobby")
        await enter(elsewhere, "kitchen")
        await first.emit("typing")
        for client in (first, second, elsewhere):
            await presence(client), await presence(client), await presence(client)
        assert (await second.expect_event("typing")).json() == {"room": "lobby", "name": "Ada"}
        await first.expect_nothing()
        await elsewhere.expect_nothing()


async def test_typing_before_entering_shows_to_nobody(etp_communicator: Communicator, ada: User) -> None:
    async with etp_communicator(user=ada) as client:
        await client.emit("typing")
        await client.expect_nothing()
