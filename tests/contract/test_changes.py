"""The rules of docs/contract.md: what breaks clients, and what does not."""

import re
from pathlib import Path
from typing import Any

import pytest

from django_etp.contract.changes import breaking_changes
from django_etp.contract.model import Contract, Handled, Payload, Room

PAGE = Path(__file__).parents[2] / "docs" / "contract.md"

INTEGER = {"type": "integer"}
OPTIONAL = {"type": ["integer", "null"]}
TEXT = Payload({"type": "string"}, is_text=True)
NO_DATA = Payload({"type": "null"})


def fields(required: str = "", **properties: Any) -> Payload:
    return Payload({"type": "object", "properties": properties, "required": required.split()})


def taking(payload: Payload) -> Contract:
    return Contract("n", events={"say": Handled(payload, NO_DATA)})


def answering(answer: Payload, *, is_stream: bool = False) -> Contract:
    return Contract("n", events={"say": Handled(NO_DATA, answer, is_stream)})


def sending(payload: Payload) -> Contract:
    return Contract("n", sent={"said": payload})


def having(pattern: str = "orders/<int:pk>", **options: Any) -> Contract:
    return Contract("n", rooms={pattern: Room(pattern, **options)})


EMPTY = Contract("n")
SAYING = Handled(fields("text", text=INTEGER), Payload(INTEGER))

# By the rows of the table in docs/contract.md: a change that breaks clients, and what is said of it.
BREAKING = {
    "an event that clients send is gone": (taking(TEXT), EMPTY, "the event 'say' is gone"),
    "an event that the server sends is gone": (
        sending(TEXT),
        EMPTY,
        "the event 'said' that the server sends is gone",
    ),
    "a room is gone": (having(), EMPTY, "the room 'orders/<int:pk>' is gone"),
    "a room's pattern may not match all names that it matched": (
        having("orders/<slug:pk>"),
        having(),
        "the room 'orders/<slug:pk>' has another pattern, 'orders/<int:pk>', which may not match all of its names",
    ),
    "a room has no presence any more": (
        having(info=True),
        having(),
        "the room 'orders/<int:pk>' has no presence any more",
    ),
    "a room has no history any more": (
        having(has_history=True),
        having(),
        "the room 'orders/<int:pk>' has no history any more",
    ),
    "an answer is gone": (
        answering(Payload(INTEGER)),
        answering(NO_DATA),
        "the event 'say': its answer is gone",
    ),
    "an answer is streamed now, or no longer": (
        answering(TEXT),
        answering(TEXT, is_stream=True),
        "the event 'say': its answer is now streamed",
    ),
    "a field that clients send is required now": (
        taking(fields("a", a=INTEGER, b=INTEGER)),
        taking(fields("a b", a=INTEGER, b=INTEGER)),
        "the event 'say': its payload at b is required now",
    ),
    "a field that clients send is refused now": (
        taking(fields(a=INTEGER)),
        taking(Payload({"type": "object", "properties": {}, "additionalProperties": False})),
        "the event 'say': its payload at a is refused now",
    ),
    "a type that clients send is narrower": (
        taking(Payload(OPTIONAL)),
        taking(Payload(INTEGER)),
        "the event 'say': its payload may be null no longer, only integer",
    ),
    "a limit of what clients send is narrower": (
        taking(fields(a={"type": "string", "maxLength": 9})),
        taking(fields(a={"type": "string", "maxLength": 8})),
        "the event 'say': its payload at a is narrower: maxLength was 9 and is 8",
    ),
    "a field that clients get may be missing now": (
        answering(fields("a", a=INTEGER)),
        answering(fields(a=INTEGER)),
        "the event 'say': its answer at a may be missing now",
    ),
    "a type that clients get is wider": (
        sending(Payload(INTEGER)),
        sending(Payload(OPTIONAL)),
        "the event 'said' that the server sends may be null now, not only integer",
    ),
    "a limit of what clients get is wider": (
        sending(Payload({"type": "integer", "minimum": 1})),
        sending(Payload({"type": "integer", "minimum": 0})),
        "the event 'said' that the server sends is wider: minimum was 1 and is 0",
    ),
    "text as it is becomes JSON, or JSON such text": (
        taking(TEXT),
        taking(Payload({"type": "string"})),
        "the event 'say': its payload is JSON now, no longer text as it is",
    ),
}
# Changes that clients do not notice.
HARMLESS = {
    "a new event, room or answer": (
        answering(NO_DATA),
        Contract(
            "n",
            events={"say": Handled(NO_DATA, NO_DATA), "more": SAYING},
            sent={"said": TEXT},
            rooms={"lobby": Room("lobby")},
        ),
    ),
    "a new field that clients may leave out": (
        taking(fields("a", a=INTEGER)),
        taking(fields("a", a=INTEGER, b=INTEGER)),
    ),
    "a field that clients need not send any more": (taking(fields("a", a=INTEGER)), taking(fields(a=INTEGER))),
    "a field that is read no more": (taking(fields(a=INTEGER)), taking(fields())),
    "a wider type of what clients send": (taking(Payload(INTEGER)), taking(Payload({"type": "number"}))),
    "a new field that clients get": (
        answering(fields("a", a=INTEGER)),
        answering(fields("a b", a=INTEGER, b=INTEGER)),
    ),
    "a narrower type of what clients get": (sending(Payload(OPTIONAL)), sending(Payload(INTEGER))),
    "a renamed class, room parameter or handler": (
        Contract(
            "n",
            sent={"said": Payload({"$ref": "#/components/schemas/Say"})},
            rooms={"orders/<int:pk>": Room("orders/<int:pk>")},
            schemas={"Say": INTEGER},
        ),
        Contract(
            "n",
            sent={"said": Payload({"$ref": "#/components/schemas/Said"})},
            rooms={"orders/<int:id>": Room("orders/<int:id>")},
            schemas={"Said": {**INTEGER, "title": "Said"}},
        ),
    ),
}


@pytest.mark.parametrize("rule", BREAKING)
def test_this_breaks_clients(rule: str) -> None:
    old, new, message = BREAKING[rule]
    assert breaking_changes(old, new) == [message]
    assert breaking_changes(old, old) == []


@pytest.mark.parametrize("rule", HARMLESS)
def test_this_does_not(rule: str) -> None:
    assert breaking_changes(*HARMLESS[rule]) == []


def test_the_page_has_these_rules() -> None:
    rows = re.findall(r"^\| (.+?) \| (breaks clients|does not) \|", PAGE.read_text(), re.MULTILINE)
    assert {rule for rule, effect in rows if effect == "breaks clients"} == set(BREAKING)
    assert {rule for rule, effect in rows if effect == "does not"} == set(HARMLESS)


def test_rooms_are_compared_inside_as_well() -> None:
    old = having(state={"type": "integer"}, info={"type": "string"}, events={"say": SAYING, "ask": SAYING})
    new = having(state=True, info=True, events={"say": Handled(fields("text more", text=INTEGER), Payload(INTEGER))})
    room = "the room 'orders/<int:pk>'"
    assert breaking_changes(old, new) == [
        f"{room}: its state may be any value now, not only integer",
        f"{room}: the info of its members may be any value now, not only string",
        f"{room}: the event 'say': its payload at more is required now",
        f"{room}: the event 'ask' is gone",
    ]


def test_the_answer_of_a_stream_is_compared_part_by_part() -> None:
    old, new = answering(Payload(INTEGER), is_stream=True), answering(Payload(OPTIONAL), is_stream=True)
    assert breaking_changes(old, new) == ["the event 'say': its answer may be null now, not only integer"]
    assert breaking_changes(old, answering(TEXT)) == ["the event 'say': its answer is no longer streamed"]


UNKNOWN = Payload()


@pytest.mark.parametrize(
    ("old", "new", "breaks"),
    [
        (UNKNOWN, TEXT, False),
        (UNKNOWN, Payload(INTEGER), True),
        (TEXT, UNKNOWN, False),
        (NO_DATA, TEXT, False),
        (TEXT, NO_DATA, True),
        (Payload(INTEGER), TEXT, True),
        (NO_DATA, Payload(OPTIONAL), False),
    ],
)
def test_what_clients_send_as_text_and_as_json(old: Payload, new: Payload, breaks: bool) -> None:
    assert bool(breaking_changes(taking(old), taking(new))) is breaks


@pytest.mark.parametrize(
    ("old", "new", "breaks"),
    [
        (UNKNOWN, TEXT, False),
        (UNKNOWN, NO_DATA, False),
        (UNKNOWN, Payload(INTEGER), False),
        (TEXT, UNKNOWN, True),
        (NO_DATA, TEXT, True),
        (TEXT, NO_DATA, True),
        (Payload(INTEGER), TEXT, True),
    ],
)
def test_what_clients_get_as_text_and_as_json(old: Payload, new: Payload, breaks: bool) -> None:
    assert bool(breaking_changes(sending(old), sending(new))) is breaks
