"""The codes of failures in a contract are those that the server sends."""

from typing import Any

from django_etp.contract.failures import FAILURE, REFUSAL
from django_etp.exceptions import EventFailed, InvalidPayload, TooManyEvents, TooManyRooms
from django_etp.protocol.failures import facts_of, handler_failed, named_failure


def codes_of(message: dict[str, Any]) -> set[str]:
    return {code["const"] for code in message["payload"]["properties"]["code"]["anyOf"] if "const" in code}


def test_the_failures_that_the_protocol_names_are_there() -> None:
    errors = [InvalidPayload("a", errors=[]), TooManyEvents("a"), TooManyRooms("a")]
    failures = [handler_failed(), *(failure for error in errors if (failure := named_failure(error)))]
    assert len(failures) == 4
    assert {failure.code for failure in failures} <= codes_of(FAILURE)


def test_codes_of_the_application_are_allowed() -> None:
    for message in (FAILURE, REFUSAL):
        *known, others = message["payload"]["properties"]["code"]["anyOf"]
        assert others["type"] == "string"
        assert all(each["description"] for each in known)


def test_the_facts_of_a_failure_are_described() -> None:
    failure = EventFailed("a", "b", errors=[{"path": [], "message": "c", "code": "d"}], details={}, retry_after=1)
    assert facts_of(failure).keys() <= FAILURE["payload"]["properties"].keys()
