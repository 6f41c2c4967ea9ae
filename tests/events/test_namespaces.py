"""The handlers, hooks and declared rooms of one namespace."""

from copy import copy
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from django_etp.events.declared import DeclaredRoom
from django_etp.events.handlers import handler_of
from django_etp.events.namespaces import Namespace


def room(pattern: str) -> DeclaredRoom:
    def join(connection: Any, **parameters: Any) -> None: ...

    return DeclaredRoom(handler_of(join), pattern, False, None)


def test_a_room_is_found_by_its_name_with_its_parameters() -> None:
    namespace = Namespace()
    orders, lobby = room("orders/<int:pk>"), room("lobby")
    namespace.add_room(orders)
    namespace.add_room(lobby)
    assert namespace.find_room("orders/5") == (orders, {"pk": 5})
    assert namespace.find_room("lobby") == (lobby, {})
    assert namespace.find_room("orders/x") is None


def test_a_pattern_that_overlaps_is_not_added() -> None:
    namespace = Namespace()
    namespace.add_room(room("orders/<int:pk>"))
    with pytest.raises(ImproperlyConfigured, match=r"'orders/<int:pk>' of .*'orders/<str:name>' of "):
        namespace.add_room(room("orders/<str:name>"))
    assert len(namespace.rooms) == 1


def test_a_copy_is_changed_by_itself() -> None:
    namespace = Namespace()
    twin = copy(namespace)
    twin.add_room(room("lobby"))
    twin.events["hello"] = handler_of(print)
    twin.on_connect.add(handler_of(print))
    assert [*namespace.rooms, *namespace.events, *namespace.on_connect] == []
