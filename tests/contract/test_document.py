"""A document that was written is read again as the same contract; other files are refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from django_etp.contract.asyncapi import to_document
from django_etp.contract.description import describe
from django_etp.contract.document import from_document, read_contract
from django_etp.contract.model import UnreadableContract
from tests.support.contracts import NAMESPACE, declare

pytestmark = pytest.mark.usefixtures("etp_registry")


def written() -> tuple[dict[str, Any], Any]:
    kept = declare()
    contract = describe(NAMESPACE)
    assert len(contract.sent) == len(kept)
    return json.loads(json.dumps(to_document(contract))), contract


def test_what_is_written_is_read_again() -> None:
    document, contract = written()
    read = from_document(document)
    assert read.events == contract.events
    assert read.sent == contract.sent
    assert read.schemas == contract.schemas
    assert {key: (each.state, each.info, each.events) for key, each in read.rooms.items()} == {
        key: (each.state, each.info, each.events) for key, each in contract.rooms.items()
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("asyncapi: 3.0.0\n", "is no JSON: .* without --format yaml"),
        ("", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ("[]", "is JSON, but not AsyncAPI 3"),
        ('{"openapi": "3.1.0"}', "is JSON, but not AsyncAPI 3"),
        ('{"asyncapi": "2.6.0"}', "is JSON, but not AsyncAPI 3"),
        ('{"asyncapi": "3.0.0", "info": {}}', "is AsyncAPI, but of another program"),
    ],
)
def test_another_format_is_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "contract.json"
    file.write_text(text)
    with pytest.raises(UnreadableContract, match=message) as caught:
        read_contract(str(file))
    assert str(file) in str(caught.value)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "contract.json"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UnreadableContract, match="is no JSON"):
        read_contract(str(file))


@pytest.mark.parametrize("name", ["missing.json", "."])
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnreadableContract, match=r"cannot be read: .* Write one with manage\.py etp_schema"):
        read_contract(str(tmp_path / name))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda document: document.pop("components"),
        lambda document: document.pop("operations"),
        lambda document: document["components"]["schemas"].pop("Say"),
        lambda document: document["components"]["schemas"].update(Say=5),
        lambda document: document["channels"].pop("events"),
        lambda document: document["operations"]["events.receive.say"].pop("reply"),
        lambda document: document["operations"]["events.receive.say"].update(messages=[]),
        lambda document: document.update(operations=[1]),
        lambda document: document["channels"]["events"]["messages"]["say"].update(payload="text"),
    ],
)
def test_a_document_that_was_changed_is_refused(tmp_path: Path, spoil: Callable[[dict[str, Any]], object]) -> None:
    document, _ = written()
    spoil(document)
    file = tmp_path / "contract.json"
    file.write_text(json.dumps(document))
    with pytest.raises(UnreadableContract, match="not as etp_schema writes it"):
        read_contract(str(file))
