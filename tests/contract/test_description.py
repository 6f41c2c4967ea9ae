"""What is described of a namespace, and the errors that name what cannot be."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel

from django_etp import Connection, Event, etp_event, etp_room, outgoing
from django_etp.contract.description import describe, namespaces
from django_etp.contract.model import Payload, UnreadableContract

pytestmark = pytest.mark.usefixtures("etp_registry")


class Hook(BaseModel):
    run: Callable[[], None]


def test_an_unknown_namespace_is_refused_with_those_that_there_are() -> None:
    etp_event("hello", namespace="staff")(lambda connection, event: None)
    with pytest.raises(UnreadableContract, match=r"'nosuch' has no events and no rooms.*'staff'"):
        describe("nosuch")
    assert "nosuch" not in namespaces()


def test_a_namespace_may_have_nothing_but_what_the_server_sends() -> None:
    said = outgoing("said", int, namespace="quiet")
    assert describe("quiet").sent == {said.name: Payload({"type": "integer"})}


def test_events_that_are_in_use_no_more_are_left_out() -> None:
    outgoing("said", int, namespace="gone")
    assert "gone" not in namespaces()


def test_an_event_that_is_declared_twice_is_sent_as_both_types() -> None:
    kept = [outgoing("said", kind, namespace="two") for kind in (int, bool, int)]
    assert describe("two").sent == {"said": Payload({"anyOf": [{"type": "boolean"}, {"type": "integer"}]})}
    kept.append(outgoing("said", str, namespace="two"))
    assert describe("two").sent == {"said": Payload()}


def test_a_handler_that_streams_is_told_with_types_and_without() -> None:
    @etp_event("typed", namespace="n")
    async def typed(connection: Connection, prompt: str):
        yield 1

    @etp_event("untyped", namespace="n")
    async def untyped(connection, event):
        yield 1

    @etp_event("single", namespace="n")
    async def single(connection: Connection, prompt: str) -> int: ...

    assert {name: event.is_stream for name, event in describe("n").events.items()} == {
        "single": False,
        "typed": True,
        "untyped": True,
    }


def spoil_payload() -> None:
    @etp_event("hang", namespace="n")
    def hang(connection: Connection, hook: Hook) -> None: ...


def spoil_answer() -> None:
    @etp_event("hang", namespace="n")
    def hang(connection: Connection, event: Event) -> Hook: ...


def spoil_state() -> None:
    @etp_room("lobby", namespace="n")
    def hang(connection: Connection) -> Hook: ...


def spoil_room() -> None:
    @etp_room("lobby", namespace="n")
    def lobby(connection: Connection): ...

    @lobby.event("hang")
    def hang(connection: Connection, hook: Hook): ...


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (spoil_payload, "The event 'hang'.* has a payload"),
        (spoil_answer, "The event 'hang'.* has an answer"),
        (spoil_room, "The event 'hang'.* has a payload"),
        (spoil_state, "The room 'lobby'.* has a state"),
    ],
)
def test_a_type_without_a_schema_is_refused_with_the_handler_and_its_place(
    spoil: Callable[[], None], what: str
) -> None:
    spoil()
    with pytest.raises(UnreadableContract, match=what) as caught:
        describe("n")
    assert "hang (" in str(caught.value)
    assert "test_description.py:" in str(caught.value)


def test_what_the_server_sends_is_refused_with_its_place() -> None:
    kept = outgoing("hung", Hook, namespace="n")
    with pytest.raises(
        UnreadableContract, match=r"The event 'hung', declared at .*test_description\.py:\d+, has a pay"
    ):
        describe(kept.namespace)


def test_a_class_with_one_form_in_both_directions_is_one_type() -> None:
    @dataclass
    class Word:
        text: str

    @etp_event("say", namespace="n")
    def say(connection: Connection, word: Word) -> list[Word]: ...

    # Annotations of a function are looked up in its module.
    say.__globals__["Word"] = Word
    assert list(describe("n").schemas) == ["Word"]


def test_the_schemas_of_two_classes_of_one_name_are_kept_apart() -> None:
    class Word(BaseModel):
        text: str

    other: Any = type("Word", (BaseModel,), {"__annotations__": {"number": int}})
    kept = [outgoing("a", Word, namespace="n"), outgoing("b", other, namespace="n")]
    contract = describe("n")
    assert len(kept) == len(contract.schemas) == 2
    assert contract.sent["a"] != contract.sent["b"]
