"""Infos of connections, there and back as plain columns."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import User

from django_etp import ConnectionInfo, rooms
from django_etp.hub.process import serving_hub
from django_etp.rooms.infos import read_infos, to_columns
from tests.support.rooms import clients

pytestmark = pytest.mark.usefixtures("etp_registry")


async def test_infos_are_the_same_after_the_way_there_and_back() -> None:
    async with clients("a b", "a", "b a", user=User(pk=7)) as connected:
        hub = serving_hub()
        columns = to_columns(hub, hub.membership.members("default"))
        infos = read_infos(columns)
        assert infos == await rooms.aconnections()
    assert [(info.id, info.user_id, info.rooms) for info in infos] == [
        (client.id, 7, rooms_of) for client, rooms_of in zip(connected, [("a", "b"), ("a",), ("a", "b")], strict=True)
    ]
    # Each different set of rooms once.
    assert columns[3:] == [[0, 1, 0], [["a", "b"], ["a"]]]


async def test_no_members_are_empty_columns() -> None:
    async with clients("a"):
        assert to_columns(serving_hub(), []) == [[], [], [], [], []]
    assert read_infos([[], [], [], [], []]) == []


@pytest.mark.parametrize(("text", "user_id"), [("7", 7), ("device 7", "device 7"), (None, None), (7, 7)], ids=repr)
def test_the_id_of_a_user_gets_the_type_of_the_primary_key_if_it_fits(text: Any, user_id: Any) -> None:
    assert read_infos([["id"], [text], [0.5], [0], [["lobby"]]]) == [
        ConnectionInfo("id", user_id, ("lobby",), datetime.fromtimestamp(0.5, UTC))
    ]


@pytest.mark.parametrize(
    "columns",
    [
        None,
        [],
        [["id"], [None], [0.0], [], [[]]],
        [["id"], [None], ["never"], [0], [[]]],
        [["id"], [None], [0.0], [3], []],
    ],
    ids=["none", "empty", "short-column", "no-time", "no-such-set"],
)
def test_columns_that_are_none_are_refused(columns: Any) -> None:
    with pytest.raises((TypeError, ValueError, LookupError)):
        read_infos(columns)
