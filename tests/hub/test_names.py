"""Names: of rooms, of their channel-layer groups, of users' rooms and of namespaces."""

import copy
import pickle
from typing import Any

import pytest
from channels.layers import get_channel_layer
from django.contrib.auth.models import AnonymousUser, User

from django_etp import InvalidRoomName, rooms
from django_etp.hub.names import (
    UserRoom,
    check_can_join,
    check_namespace,
    check_room_name,
    group_name,
    room_name,
    room_names,
    user_key,
    user_room,
)

NO_NAMES = [7, None, b"lobby", "x" * 1001, "\ud800"]


def test_group_names_are_names_of_groups() -> None:
    layer = get_channel_layer()
    names = ["lobby", "", "ünï €🎈", "x" * 1000, "LOBBY", " lobby"]
    groups = [api.group_name(name) for name in names for api in (rooms, rooms.of("game"), rooms.of("game2"))]
    assert len(set(groups)) == len(groups)
    for group in groups:
        layer.require_valid_group_name(group)


def test_the_group_of_a_room_is_always_the_same() -> None:
    assert rooms.group_name("lobby") == rooms.of("default").group_name("lobby") == rooms.group_name("lobby")


def test_the_group_of_a_room_is_another_one_on_another_site(settings: Any) -> None:
    before = rooms.group_name("lobby")
    settings.ETP = {"SITE": "shop"}
    assert rooms.group_name("lobby") == before.replace("etp.room.", "etp.shop.room.") != before


def test_a_namespace_and_its_rooms_have_groups_of_their_own() -> None:
    names = [("a", None), ("a", ""), ("a", "None"), ("a:b", None), ("a", "b"), ("", "a:b"), ("1:a", "b")]
    assert len({group_name(*each) for each in names}) == len(names)


@pytest.mark.parametrize("room", NO_NAMES, ids=lambda value: type(value).__name__)
def test_other_values_than_room_names_are_refused(room: Any) -> None:
    for function in (rooms.group_name, check_room_name, check_can_join, room_name, room_names):
        with pytest.raises(InvalidRoomName, match=f"got {type(room).__name__}|must have|lone surrogate"):
            function(room)
    with pytest.raises(InvalidRoomName):
        room_names(["lobby", room])


def test_one_name_or_several_become_a_list() -> None:
    assert room_names("lobby") == ["lobby"]
    assert room_names(name for name in "ab") == ["a", "b"]
    assert room_names(()) == []
    assert room_name("lobby") == "lobby"


def test_reserved_rooms_cannot_be_joined() -> None:
    check_can_join("lobby")
    check_can_join("_lobby")
    with pytest.raises(InvalidRoomName, match="reserved"):
        check_can_join(user_room(7))


def test_reserved_names_work_only_as_they_come_from_the_user() -> None:
    room = rooms.user(7)
    assert room == user_room(7)
    for same in (room, copy.deepcopy(room), pickle.loads(pickle.dumps(room))):
        assert isinstance(same, UserRoom)
        assert type(room_name(same)) is str
        assert [type(each) for each in room_names([same, "lobby"])] == [str, str]
        assert rooms.group_name(same) == group_name("default", user_room(7))
    for other in (str(room), f"{room}", room.upper(), "__", "__lobby"):
        for function in (room_name, room_names, rooms.group_name):
            with pytest.raises(InvalidRoomName, match=r"reserved .* rooms\.user\(user\)"):
                function(other)
    assert room_name("_lobby") == "_lobby"


@pytest.mark.parametrize(
    ("user", "key"),
    [(User(pk=7), 7), (User(pk="7"), 7), (User(pk="device"), "device"), (User(), None), (AnonymousUser(), None)],
    ids=["saved", "text", "other", "unsaved", "anonymous"],
)
def test_the_key_of_a_user_has_the_type_of_its_field(user: Any, key: object) -> None:
    assert user_key(user) == key
    assert type(user_key(user)) is type(key)


def test_a_namespace_is_named_by_text() -> None:
    check_namespace("game")
    with pytest.raises(TypeError, match="must be str, got NoneType"):
        check_namespace(None)
