"""Queries to hubs: written as classes, read back from the wire, asked, and answered."""

import asyncio
import math
from dataclasses import dataclass
from typing import Any

import pytest

from django_etp import ConnectionClosed, IncompleteAnswer
from django_etp.cluster.messages import Malformed
from django_etp.exceptions import EtpError
from django_etp.hub.hub import Hub
from django_etp.hub.members import Member
from django_etp.hub.process import serving_hub
from django_etp.hub.queries import (
    ConnectionCommand,
    ConnectionQuery,
    HubCommand,
    HubQuery,
    answer,
    read_query,
    register_query,
)
from tests.support.rooms import clients

pytestmark = pytest.mark.usefixtures("etp_registry")


@register_query("tests.repeat")
@dataclass(frozen=True, slots=True)
class Repeat(HubQuery[list[int]]):
    """Every type that a field can have; hubs reply with the number."""

    text: str
    maybe: str | None
    texts: tuple[str, ...]
    number: int
    seconds: float

    async def reply(self, hub: Hub) -> int:
        return self.number

    def merge(self, replies: list[Any]) -> list[int]:
        return [int(reply) for reply in replies]


@register_query("tests.note")
@dataclass(frozen=True, slots=True)
class Note(HubCommand):
    """Keep a text."""

    text: str

    async def reply(self, hub: Hub) -> None:
        if not self.text:
            raise EtpError("there is nothing to note")
        notes.append(self.text)


@register_query("tests.name")
@dataclass(frozen=True, slots=True)
class Name(ConnectionQuery[str]):
    """Get the id of a connection, in upper case."""

    async def reply_for(self, member: Member, hub: Hub) -> str:
        return member.id

    def read(self, reply: str) -> str:
        return reply.upper()


@register_query("tests.touch")
@dataclass(frozen=True, slots=True)
class Touch(ConnectionCommand):
    """Keep the id of a connection."""

    async def reply_for(self, member: Member, hub: Hub) -> bool:
        notes.append(member.id)
        return True


notes: list[str] = []
PLAIN = ["default", "text", None, ["a", "b"], 7, 0.5]
QUERY = Repeat("default", "text", None, ("a", "b"), 7, 0.5)


@pytest.fixture(autouse=True)
def _no_notes() -> None:
    notes.clear()


# On the wire


def test_a_query_travels_as_its_name_and_a_list() -> None:
    assert QUERY.action == "tests.repeat"
    assert QUERY.to_plain() == PLAIN
    assert read_query("tests.repeat", PLAIN) == QUERY


@pytest.mark.parametrize(
    ("place", "value"),
    [(2, "text"), (3, ()), (3, ("a",)), (4, True), (5, 7), (5, math.inf), (5, 10**400)],
    ids=["text-or-none", "empty-tuple", "tuple", "bool", "whole-seconds", "infinity", "huge"],
)
def test_values_of_the_fields_types_are_read(place: int, value: Any) -> None:
    """A layer may bring lists as tuples."""
    plain = [*PLAIN[:place], value, *PLAIN[place + 1 :]]
    query = read_query("tests.repeat", plain)
    assert isinstance(query, Repeat)
    assert query.to_plain() == [list(each) if isinstance(each, tuple) else each for each in plain]


@pytest.mark.parametrize(
    "plain",
    [
        [],
        PLAIN[:-1],
        [*PLAIN, "more"],
        *([*PLAIN[:place], value, *PLAIN[place + 1 :]] for place, value in [(0, None), (1, 7), (1, b"text"), (2, 7)]),
        *([*PLAIN[:3], value, *PLAIN[4:]] for value in ("ab", None, [1], {"a": 1}, [["a"]])),
        *([*PLAIN[:4], value, PLAIN[5]] for value in ("7", 7.0, None)),
        *([*PLAIN[:5], value] for value in ("0.5", math.nan, None)),
    ],
    ids=repr,
)
def test_other_arguments_are_malformed(plain: list[Any]) -> None:
    with pytest.raises(Malformed, match=r"'tests\.repeat' does not take the arguments"):
        read_query("tests.repeat", plain)


async def test_an_unknown_action_is_malformed() -> None:
    with pytest.raises(Malformed, match="'unheard of' is unknown here: does another process run another version"):
        read_query("unheard of", [])


# Answers


async def test_a_hub_answers_from_the_wire() -> None:
    async with clients("") as (client,):
        hub = serving_hub()
        assert await answer(hub, "tests.repeat", PLAIN) == 7
        assert await answer(hub, "tests.name", ["default", client.id]) == client.id
        for namespace, id in [("default", "gone"), ("game", client.id)]:
            assert await answer(hub, "tests.name", [namespace, id]) is None
        with pytest.raises(EtpError, match="nothing to note"):
            await answer(hub, "tests.note", ["default", ""])


# Asking


async def test_all_hubs_are_asked_and_their_replies_merged() -> None:
    async with clients(""):
        assert await QUERY.ask(serving_hub(), 5) == [7]


async def test_a_command_has_no_result() -> None:
    async with clients("") as (client,):
        hub = serving_hub()
        await Note("default", "text").ask(hub, 5)
        await Touch("default", client.id).ask(hub, 5)
        assert notes == ["text", client.id]
        with pytest.raises(EtpError, match="nothing to note"):
            await Note("default", "").ask(hub, 5)


async def test_the_hub_of_a_connection_is_asked() -> None:
    async with clients("") as (client,):
        hub = serving_hub()
        assert await Name("default", client.id).ask(hub, 5) == client.id.upper()
        for id in ("gone", f"{hub.id}.gone", f"{'f' * 16}.1"):
            for query in (Name("default", id), Touch("default", id)):
                with pytest.raises(ConnectionClosed, match=f"'{id}' is gone, or never was"):
                    await query.ask(hub, 5)


def hub_that_replies(reply: Any = None, *, is_late: bool = False) -> Hub:
    """Return a hub without a channel layer that has this reply to every query, or none in time."""

    async def answer_all(hub: Hub, action: str, arguments: list[Any]) -> Any:
        if is_late:
            await asyncio.Event().wait()
        return reply

    return Hub(asyncio.get_running_loop(), answer_all, is_serving=False)


@pytest.fixture
def _no_layer(settings: Any) -> None:
    settings.CHANNEL_LAYERS = {}


@pytest.mark.usefixtures("_no_layer")
@pytest.mark.parametrize("reply", [None, "rubbish", [7]], ids=repr)
async def test_a_reply_that_cannot_be_read_counts_as_none(reply: Any) -> None:
    error = "ValueError" if reply == "rubbish" else "TypeError"
    with pytest.raises(
        IncompleteAnswer, match=rf"Of 1 replies, a reply to 'tests\.repeat' cannot be read: {error}"
    ) as raised:
        await QUERY.ask(hub_that_replies(reply), 5)
    assert raised.value.answer == []


@pytest.mark.usefixtures("_no_layer")
async def test_a_missing_reply_leaves_the_result_of_the_others() -> None:
    with pytest.raises(IncompleteAnswer, match=r"did not reply to 'tests\.repeat' within 0\.01 s") as raised:
        await QUERY.ask(hub_that_replies(is_late=True), 0.01)
    assert raised.value.answer == []


@pytest.mark.usefixtures("_no_layer")
async def test_a_connections_hub_that_does_not_reply_leaves_no_result() -> None:
    hub = hub_that_replies(is_late=True)
    with pytest.raises(IncompleteAnswer, match="did not reply") as raised:
        await Name("default", f"{hub.id}.1").ask(hub, 0.01)
    assert raised.value.answer is None
