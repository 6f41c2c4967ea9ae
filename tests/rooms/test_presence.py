"""`rooms.present()` and `rooms.is_online()`, from coroutines and threads."""

from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User

from django_etp import IncompleteAnswer, InvalidRoomName, Present, etp_room, on_connect, rooms
from django_etp.rooms.presence import ListOnline, ListPresent
from tests.support.declared import guest
from tests.support.rooms import Call, clients

pytestmark = pytest.mark.usefixtures("etp_registry")


def user(pk: int) -> Any:
    return SimpleNamespace(pk=pk, is_authenticated=True)


async def test_present_lists_who_is_in_a_room(call: Call) -> None:
    @etp_room("orders/<int:pk>", presence=lambda connection, pk: {"name": "Ana"})
    async def order_room(connection: Any, pk: int) -> None: ...

    async with guest(user=user(7)) as one, guest(user=user(7)) as two, guest(user=user(3)) as three:
        for client in (one, two, three):
            joined = await client.join("orders/5")
        first, second = await call("present", order_room(pk=5))
        assert (first.key, second.key) == ("7", "3")
        assert first == Present("7", {"name": "Ana"}, joined.members["7"]["since"], 2)
        assert await call("present", "orders/6") == []
        assert await call("present", "orders/5", api=rooms.of("other")) == []


async def test_a_room_without_presence_has_nobody(call: Call) -> None:
    async with clients("lobby"):
        assert await call("present", "lobby") == []


async def test_a_wrong_room_name_is_refused(call: Call) -> None:
    for name in (5, "__user.5", "x" * 1001):
        with pytest.raises(InvalidRoomName):
            await call("present", name)


async def test_is_online_has_the_given_objects_as_keys(call: Call) -> None:
    ana, bob = User(pk=7), User(pk=8)
    async with guest(user=user(7)), guest(user=user(9), namespace="other"):
        assert await call("is_online", ana, bob, 9, "9", 10) == {ana: True, bob: False, 9: True, "9": True, 10: False}
        assert await call("is_online") == {}


async def test_a_connection_that_is_not_accepted_yet_is_not_online() -> None:
    online = []

    @on_connect
    async def look(connection: Any) -> None:
        online.append(await rooms.ais_online(7))

    async with guest(user=user(7)):
        assert online == [{7: False}]
        assert await rooms.ais_online(7) == {7: True}


async def test_an_anonymous_user_cannot_be_asked_for(call: Call) -> None:
    with pytest.raises(InvalidRoomName, match="is_authenticated"):
        await call("is_online", AnonymousUser())


def test_replies_of_several_processes_are_merged() -> None:
    one, two = [["a", "{}", 1.0, 5.0, 1, 0], ["b", "{}", 1.0, 4.0, 1, 0]], [["a", '{"x":1}', 2.0, 3.0, 2, 0]]
    expected = [Present("a", {"x": 1}, 3.0, 3), Present("b", {}, 4.0, 1)]
    for replies in ([one, two], [two, one], [one, None, [], two]):
        assert ListPresent("default", "room").merge(replies) == expected
    assert ListOnline("default", ("1", "2")).merge([["1"], [], ["2", "1"]]) == {"1", "2"}


async def test_an_incomplete_answer_holds_what_the_others_replied(call: Call, monkeypatch: Any) -> None:
    from django_etp.server.serving import current_serving

    async with guest(user=user(7)):
        hub = current_serving().hub

        async def ask(*args: Any, **options: Any) -> Any:
            raise IncompleteAnswer("one is missing", answer=[["7"]])

        monkeypatch.setattr(hub, "ask", ask)
        with pytest.raises(IncompleteAnswer, match="one is missing") as caught:
            await call("is_online", 7, 8)
        assert caught.value.answer == {7: True, 8: False}
