"""``manage.py etp_events`` lists what is registered, and where."""

from io import StringIO

import pytest
from django.core.management import call_command

from django_etp import Connection, Event, etp_event, etp_room, on_connect

pytestmark = pytest.mark.usefixtures("etp_registry")


def output(*arguments: str) -> str:
    out = StringIO()
    call_command("etp_events", *arguments, stdout=out)
    return out.getvalue()


def declare() -> None:
    @etp_event("hello")
    def hello(connection: Connection, event: Event) -> None: ...

    @on_connect
    def enter(connection: Connection) -> None: ...

    @etp_room(
        "orders/<int:pk>",
        login_required=True,
        permission=["shop.view_order", "shop.add_order"],
        presence=lambda connection, pk: {},
    )
    def order_room(connection: Connection, pk: int) -> None: ...

    order_room.allow(lambda user, pk: True)
    order_room.event("say")(lambda connection, event, pk: None)
    order_room.on_leave(lambda connection, pk: None)
    etp_room("lobby", namespace="staff")(lambda connection: None)


def test_all_that_is_registered_is_listed_with_its_place() -> None:
    declare()
    lines = output().splitlines()
    kinds = [line.split()[:2] for line in lines]
    assert kinds[0] == ["namespace", "'default'"]
    assert kinds[1][:2] == ["event", "'hello'"]
    assert kinds[2][:2] == ["room", "orders/<int:pk>"]
    assert [kind[0] for kind in kinds[3:]] == [
        "allow",
        "on_leave",
        "presence",
        "event",
        "on_connect",
        "namespace",
        "room",
    ]
    assert all("test_etp_events.py:" in line for line in lines if not line.startswith("namespace"))


def test_rooms_are_listed_with_their_rules() -> None:
    declare()
    orders, lobby = [line for line in output("--rooms").splitlines() if not line.startswith("namespace")]
    assert orders.split(maxsplit=1)[0] == "orders/<int:pk>"
    assert "login, permission shop.view_order, permission shop.add_order, allow: " in orders
    assert lobby.split(maxsplit=1) == ["lobby", "open to all"]


def test_without_anything_nothing_is_listed() -> None:
    assert output() == ""
