"""What the page of a namespace shows."""

from typing import Any

import pytest
from typing_extensions import TypedDict

from django_etp import Connection, etp_event, etp_room, outgoing
from django_etp.contract.description import describe
from django_etp.contract.page import ShownEvent, failures, page_of
from tests.support.contracts import NAMESPACE, declare

pytestmark = pytest.mark.usefixtures("etp_registry")


def by_name(events: list[ShownEvent]) -> dict[str, ShownEvent]:
    return {event.name: event for event in events}


@pytest.fixture
def kept() -> list[Any]:
    return declare()


def test_events_that_clients_send_have_their_types_and_the_whole_docstring(kept: list[Any]) -> None:
    say = by_name(page_of(describe(NAMESPACE)).handled)["say"]
    assert say.payload.text == '<a href="#type-Say">Say</a>'
    assert say.answer is not None
    assert say.answer.text == "number"
    assert say.documentation == "Say something to all.\n\nOthers hear it."
    (place,) = say.places
    assert place.startswith("tests.support.contracts.declare.<locals>.say (")


def test_streams_and_text_are_marked(kept: list[Any]) -> None:
    events = by_name(page_of(describe(NAMESPACE)).handled)
    assert [name for name, event in events.items() if event.is_stream] == ["words"]
    assert [name for name, event in events.items() if event.payload.is_text] == ["echo", "words"]


def test_events_that_the_server_sends_have_all_their_places() -> None:
    kept = [outgoing("said", kind, namespace="n") for kind in (int, str)]
    kept.append(outgoing("said", int, namespace="other"))
    (said,) = page_of(describe("n")).sent
    assert said.answer is None
    assert [place.rpartition(":")[0] for place in said.places] == [__file__] * 2


def test_rates_are_named_with_whose_events_count_together() -> None:
    etp_event("say", namespace="n", rate="20/s", rate_by="ip")(lambda connection, event: None)
    etp_event("all", namespace="n")(lambda connection, event: None)
    assert {event.name: event.rate for event in page_of(describe("n")).handled} == {
        "say": "20/s for each IP address",
        "all": "",
    }


def test_rooms_have_parameters_rules_state_members_and_events(kept: list[Any]) -> None:
    orders, teams = page_of(describe(NAMESPACE)).rooms
    assert teams.parameters == [("team", "slug"), ("rest", "path")]
    assert (teams.info, teams.rule, teams.documentation) == (None, "", "")
    assert orders.documentation == "One order."
    assert orders.state.text == '<a href="#type-Page">Page</a>'
    assert orders.info is not None
    assert orders.info.text == "{\n  [name: string]: string;\n}"
    assert [event.anchor for event in orders.events] == [
        "room-orders%2F%3Cint%3Apk%3E-advice",
        "room-orders%2F%3Cint%3Apk%3E-say",
    ]


def test_the_docstring_of_the_rule_of_a_room_is_there() -> None:
    @etp_room("lobby", namespace="n")
    def lobby(connection: Connection): ...

    @lobby.allow
    def may_enter(user: Any) -> bool:
        """Friends alone."""
        return True

    (room,) = page_of(describe("n")).rooms
    assert room.rule == "Friends alone."


def test_types_link_to_each_other_and_have_their_json_schema(kept: list[Any]) -> None:
    types = dict(page_of(describe(NAMESPACE)).types)
    assert list(types) == sorted(types)
    assert 'children: <a href="#type-Node">Node</a>[];' in types["Node"].text
    assert '"exclusiveMinimum": 0' in types["Circle"].schema


def test_a_schema_that_says_no_more_than_the_type_is_left_out(kept: list[Any]) -> None:
    events = by_name(page_of(describe(NAMESPACE)).handled)
    assert [events[name].payload.schema for name in ("say", "echo", "raw")] == ["", "", ""]
    assert '"minimum": 1' in events["lines"].payload.schema


def test_names_in_types_are_escaped() -> None:
    Odd = TypedDict("Odd", {"<b>": int})

    @etp_event("odd", namespace="n")
    def odd(connection: Connection, data: Odd) -> None: ...

    ((_, odd_type),) = page_of(describe("n")).types
    assert odd_type.text == "{\n  &quot;&lt;b&gt;&quot;: number;\n}"


def test_the_codes_of_failures_have_their_meanings_as_html() -> None:
    (_, events), (_, joins) = failures()
    assert dict(events)["invalid_payload"] == "The payload does not fit; <code>errors</code> says where."
    assert "not_found" in dict(joins)
