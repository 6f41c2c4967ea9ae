"""The attributes of log records about a connection."""

from typing import Any

import pytest

from django_etp import Connection, on_connect
from django_etp.connections.records import facts_of
from tests.support.inprocess import Wire, until

pytestmark = pytest.mark.usefixtures("etp_registry")


def test_without_a_connection_all_are_none() -> None:
    assert facts_of(None) == {"event": None, "connection_id": None, "user_id": None, "room": None}


class User:
    is_authenticated = True
    pk = 7


async def test_each_record_about_a_connection_has_its_facts(caplog: pytest.LogCaptureFixture) -> None:
    """Malformed frames are reported and counted, and then the server refuses to write."""
    kept: list[Any] = []

    @on_connect
    async def keep(connection: Connection) -> None:
        kept.append(connection)

    async def refuse(message: dict[str, Any]) -> None:
        if message["type"] == "websocket.send":
            raise ValueError("too large")

    wire = await Wire(user=User(), on_send=refuse).open()
    wire.put("no frame")
    wire.put("no frame")
    wire.put("made-up||1")
    await until(lambda: any("refused to write" in record.getMessage() for record in caplog.records))
    await wire.leave(1011)
    texts = {record.getMessage(): record for record in caplog.records}
    found = {text.split()[2]: record.__dict__ for text, record in texts.items() if text.startswith("Connection ")}
    assert sorted(found) == ["failed", "had", "is"]
    assert {(facts["connection_id"], facts["user_id"], facts["room"]) for facts in found.values()} == {
        (kept[0].id, 7, None)
    }
