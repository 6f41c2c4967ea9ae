"""Declaring rooms: the decorator, its object, and what is refused when a project starts."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from django_etp import Connection, Event, EventAlreadyRegistered, InvalidEventName, NoRoomMatch, etp_room
from django_etp.events.declared import DeclaredRoom

pytestmark = pytest.mark.usefixtures("etp_registry")


def order_room(connection: Connection, pk: int) -> None:
    """The orders."""


def declare(pattern: str = "orders/<int:pk>", **options: Any) -> DeclaredRoom:
    return etp_room(pattern, **options)(order_room)


def test_the_object_names_rooms() -> None:
    room = declare()
    assert room(pk=5) == "orders/5"
    assert type(room(pk=5)) is str
    with pytest.raises(NoRoomMatch, match="orders/<int:pk>"):
        room(pk="x")


def test_the_object_looks_like_the_function() -> None:
    room = declare()
    assert (room.__name__, room.__doc__) == ("order_room", "The orders.")  # type: ignore[attr-defined]
    assert repr(room) == "<DeclaredRoom 'orders/<int:pk>'>"


@pytest.mark.parametrize(
    ("permission", "names"), [(None, ()), ("a.b", ("a.b",)), (["a.b", "a.c"], ("a.b", "a.c"))], ids=str
)
def test_permissions_are_one_or_several(permission: Any, names: tuple[str, ...]) -> None:
    assert declare(permission=permission).permissions == names


@pytest.mark.parametrize("permission", [[5], [None]])
def test_a_permission_is_a_name(permission: Any) -> None:
    with pytest.raises(TypeError, match="takes names of permissions"):
        declare(permission=permission)


def test_a_pattern_that_is_refused_names_the_place() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"order_room \(.*test_declared.py:\d+\).*no literal part"):
        declare("<int:pk>")


def test_two_patterns_that_can_match_one_name_are_refused_with_both_places() -> None:
    def other_room(connection: Connection, pk: str) -> None: ...

    declare()
    with pytest.raises(ImproperlyConfigured) as caught:
        etp_room("orders/<slug:pk>")(other_room)
    assert all(part in str(caught.value) for part in ["order_room", "other_room", "'orders/<int:pk>'", "<slug:pk>"])
    etp_room("orders/<slug:pk>", namespace="staff")(other_room)


def none(*args: Any) -> None: ...


@pytest.mark.parametrize(
    "register",
    [
        lambda room: etp_room("teams/<int:id>")(order_room),
        lambda room: room.allow(lambda user: True),
        lambda room: room.on_leave(lambda connection, id: None),
        lambda room: room.event("say")(lambda connection, pk: None),
    ],
)
def test_a_function_that_does_not_take_the_parameters_is_refused(register: Callable[[DeclaredRoom], Any]) -> None:
    with pytest.raises(TypeError, match=r"is called with \(.*(id|pk)\)"):
        register(declare())


@pytest.mark.parametrize("function", [5, Event, (each for each in ())])
def test_only_functions_are_registered(function: Any) -> None:
    for register in (etp_room("orders/<int:pk>"), declare("teams/<int:pk>").allow):
        with pytest.raises(TypeError, match="must be a function"):
            register(function)


def test_functions_come_back_as_they_are() -> None:
    room = declare()

    def allow(user: object, pk: int) -> bool:
        return True

    def say(connection: Connection, event: Event, pk: int) -> None: ...

    def gone(connection: Connection, pk: int) -> None: ...

    assert room.allow(allow) is allow
    assert room.event("say")(say) is say
    assert room.on_leave(gone) is gone


def test_a_second_function_of_a_kind_is_refused_with_both_places() -> None:
    room = declare()
    for register, function in [
        (room.allow, lambda user, pk: True),
        (room.on_leave, lambda connection, pk: None),
        (room.event("say"), lambda connection, event, pk: None),
    ]:
        register(function)
        with pytest.raises(EventAlreadyRegistered, match=r"already: .*test_declared.py:\d+.*test_declared.py:\d+"):
            register(function)


@pytest.mark.parametrize("name", ["__in", "a||b"])
def test_an_event_needs_a_name_that_can_be_sent(name: str) -> None:
    with pytest.raises(InvalidEventName):
        declare().event(name)
