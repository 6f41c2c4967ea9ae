"""The AsyncAPI document: valid, and with all that is declared."""

from typing import Any

import pytest

from django_etp.contract.asyncapi import to_document
from django_etp.contract.model import Contract, Handled, Payload
from django_etp.schemas.outgoing import Outgoing
from tests.support.asyncapi import ASYNCAPI, errors_of, parse
from tests.support.contracts import declare, document, output

pytestmark = pytest.mark.usefixtures("etp_registry")


@pytest.fixture(autouse=True)
def sent(etp_registry: object) -> list[Outgoing[Any]]:
    return declare()


def messages_of(printed: dict[str, Any], references: list[dict[str, str]]) -> dict[str, Any]:
    """Return the messages behind references, by their names."""
    found = {}
    for reference in references:
        message: Any = printed
        for step in reference["$ref"].removeprefix("#/").split("/"):
            message = message[step]
        if "$ref" in message:
            message = printed["components"]["messages"][message["$ref"].rpartition("/")[2]]
        found[message["name"]] = message
    return found


@pytest.mark.asyncapi
@pytest.mark.skipif(not ASYNCAPI, reason="the parser of AsyncAPI is missing")
def test_the_specification_and_its_parser_take_the_document() -> None:
    printed = document()
    assert errors_of(printed) == []
    assert errors_of({**printed, "operations": {"a": {"action": "recieve"}}}) != []
    as_json, as_yaml, broken = parse(output(), output("--format=yaml"), output().replace("#/channels/", "#/channel/"))
    assert as_json["complaints"] == []
    assert as_yaml == as_json
    assert broken["complaints"] != []
    assert ["orders/{pk}", ["pk"]] in as_json["addresses"]
    assert ["teams/{team}/{rest}", ["team", "rest"]] in as_json["addresses"]
    asked = {each["id"]: each for each in as_json["operations"]}
    assert asked["events.receive.say"] == {
        "id": "events.receive.say",
        "action": "receive",
        "replies": ["__ack_say", "__err_"],
    }
    assert asked["events.send.said"]["action"] == "send"


def test_events_have_their_payloads_answers_and_failures() -> None:
    printed = document()
    operation = printed["operations"]["events.receive.say"]
    assert operation["description"] == "Say something to all."
    (asked,) = messages_of(printed, operation["messages"]).values()
    assert asked["payload"] == {"$ref": "#/components/schemas/Say"}
    replies = messages_of(printed, operation["reply"]["messages"])
    assert replies["__ack_say"]["payload"] == {"type": "integer"}
    codes = replies["__err_"]["payload"]["properties"]["code"]["anyOf"]
    assert {"handler_error", "invalid_payload", "permission_denied"} < {code.get("const") for code in codes}


def test_text_is_told_from_json_and_what_is_not_known_has_no_payload() -> None:
    messages = document()["channels"]["events"]["messages"]
    assert messages["echo"] == {"name": "echo", "contentType": "text/plain", "payload": {"type": "string"}}
    assert messages["raw"] == {"name": "raw", "contentType": "application/json"}
    assert messages["closed"]["payload"] == {"type": "null"}


def test_a_streamed_answer_has_parts_and_an_end() -> None:
    printed = document()
    replies = messages_of(printed, printed["operations"]["events.receive.words"]["reply"]["messages"])
    assert list(replies) == ["__part_words", "__ack_words", "__err_"]
    assert len(replies["__part_words"]["payload"]["anyOf"]) == 2
    assert replies["__ack_words"]["payload"] == {"type": "null"}


def test_names_that_keys_cannot_hold_get_keys_of_their_own() -> None:
    printed = document()
    names = {key: message.get("name") for key, message in printed["channels"]["events"]["messages"].items()}
    assert (names["log_in"], names["log.in"]) == ("log in", "log.in")
    assert sorted(key for key, name in names.items() if name == "say") == ["say", "say.2"]
    events = {"a b": Handled(), "a_b": Handled(), "": Handled(), "failure": Handled()}
    keys = to_document(Contract("n", events=events))["channels"]["events"]["messages"]
    assert {key: message.get("name") for key, message in keys.items() if "." not in key} == {
        "a_b": "a b",
        "_": "",
        "failure": None,
    }
    assert {keys["a_b.2"]["name"], keys["failure.2"]["name"]} == {"a_b", "failure"}


def test_rooms_are_channels_with_parameters() -> None:
    printed = document()
    (room,) = [each for each in printed["channels"].values() if each["address"] == "orders/{pk}"]
    assert room["parameters"] == {"pk": {"description": "As Django's path converter int."}}
    key = "room.orders_int_pk_"
    join = printed["operations"][f"{key}.receive.__join"]
    assert join["description"] == (
        "A client joins the room. One order. Clients must be logged in. Clients need the permission shop.view."
    )
    replies = messages_of(printed, join["reply"]["messages"])
    assert replies["__ack___join"]["payload"]["properties"]["state"] == {"$ref": "#/components/schemas/Page"}
    member = replies["__ack___join"]["payload"]["properties"]["members"]["items"]
    assert member["properties"]["info"] == {"type": "object", "additionalProperties": {"type": "string"}}
    codes = [code.get("const") for code in replies["__left"]["payload"]["properties"]["code"]["anyOf"]]
    assert {"not_found", "permission_denied", "too_many_rooms", "removed"} < set(codes)
    inside = printed["operations"][f"{key}.receive.say"]["reply"]["messages"]
    assert messages_of(printed, inside)["__ack_say"]["payload"] == {"$ref": "#/components/schemas/SayOut"}
    assert f"{key}.send.said" in printed["operations"]
    assert f"{key}.send.__presence" in printed["operations"]
    assert not any("teams" in name and "__presence" in name for name in printed["operations"])


def test_a_room_with_history_tells_positions_and_past_events() -> None:
    printed = document()
    (key,) = {name.partition(".receive.")[0] for name in printed["operations"] if name.endswith(".receive.__history")}
    assert "teams" in key
    join = printed["operations"][f"{key}.receive.__join"]
    joined = messages_of(printed, join["reply"]["messages"])["__ack___join"]["payload"]
    assert joined["required"] == ["state", "position", "recovered"]
    assert "since" in messages_of(printed, join["messages"])["__join"]["payload"]["properties"]
    past = messages_of(printed, printed["operations"][f"{key}.receive.__history"]["reply"]["messages"])
    assert past["__ack___history"]["payload"]["required"] == ["events"]


def test_the_same_contract_gives_the_same_text() -> None:
    assert output() == output()
    contract = Contract("n", events={"a": Handled(Payload({"type": "null"}))})
    assert to_document(contract) == to_document(contract)
