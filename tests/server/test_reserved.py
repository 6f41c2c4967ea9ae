"""Frames with reserved names that pass the queue of events."""

from typing import Any

import pytest

from django_etp import Connection, Event, etp_event, on_unknown_event
from tests.support.inprocess import Wire

pytestmark = pytest.mark.usefixtures("etp_registry", "both_ways")


async def test_answers_and_pings_pass_the_queue_of_events(settings: Any) -> None:
    settings.ETP = {"MAX_CONCURRENT_EVENTS": 1}

    @etp_event("ask")
    async def ask(connection: Connection, event: Event) -> Any:
        return (await connection.aemit_with_ack("question")).data

    async with Wire() as wire:
        wire.put("ask||1")
        assert await wire.text() == "question||1"
        wire.put("ask||2")
        wire.put("__ping||3")
        assert await wire.text() == "__ack___ping||3"
        wire.put("__ack_question||1||yes")
        assert await wire.text() == "__ack_ask||1||yes"
        assert await wire.text() == "question||2"
        wire.put("__ack_question||2||no")
        assert await wire.text() == "__ack_ask||2||no"


@pytest.mark.parametrize("frame", ["__ping||0", "__auth||0||{}", "__other||0", "__part_x||0"])
async def test_other_reserved_names_are_events(frame: str) -> None:
    names: list[str] = []

    @on_unknown_event
    async def note(connection: Connection, event: Event) -> None:  # plain functions would run side by side in threads
        names.append(event.name)

    async with Wire(subprotocols=["etp.ext.v2"]) as wire:
        await wire.text()
        wire.put(frame)
        wire.put("last||1")
        await wire.text()
    assert names[0] == frame.partition("||")[0]
