"""Connections as members: their ids, and the values that the rooms API returns about them."""

import copy
import pickle
from dataclasses import FrozenInstanceError
from datetime import UTC, datetime
from typing import Any

import pytest

from django_etp import Connection, ConnectionInfo, Event, on_connect
from django_etp.hub.members import RoomReply, check_id, hub_of, id_of, ids
from tests.support.inprocess import Wire

pytestmark = pytest.mark.usefixtures("etp_registry")

INFO = ConnectionInfo("id", 7, ("a", "b"), datetime(2026, 1, 1, tzinfo=UTC))


def test_infos_are_values() -> None:
    assert copy.copy(INFO) == pickle.loads(pickle.dumps(INFO)) == INFO
    assert len({INFO, copy.copy(INFO)}) == 1
    assert ConnectionInfo("other", 7, ("a", "b"), INFO.connected_at) != INFO
    with pytest.raises(FrozenInstanceError):
        INFO.id = "other"  # type: ignore[misc]


@pytest.mark.parametrize(("status", "is_answered"), [("answered", True), ("timed_out", False), ("gone", False)])
def test_a_reply_knows_whether_it_is_an_answer(status: Any, is_answered: bool) -> None:
    assert RoomReply("id", status, Event("__ack_question", 1)).is_answered is is_answered


def test_an_id_names_its_hub() -> None:
    assert hub_of("0123456789abcdef.0123") == "0123456789abcdef"
    assert hub_of("no id") == "no id"


def test_an_id_is_text_that_utf_8_can_encode() -> None:
    assert check_id("a.b") == "a.b"
    assert check_id("a.\ud800") == "a.?"
    for no_id in (None, 7, b"id"):
        with pytest.raises(TypeError, match=f"must be str, got {type(no_id).__name__}"):
            check_id(no_id)


async def test_a_connection_stands_for_its_id() -> None:
    members: list[Any] = []

    @on_connect
    async def keep(connection: Connection) -> None:
        members.append(connection)

    async with Wire():
        (member,) = members
        assert id_of(member) == id_of(member.id) == member.id
        assert ids(member) == ids(member.id) == ids([member]) == ids(iter([member.id, member])) == {member.id}
    assert ids(()) == frozenset()
