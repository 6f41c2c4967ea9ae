"""What a server answers to `etp_doctor`, and what it does not."""

import json
import time
from typing import Any

import pytest

from django_etp import on_unknown_event
from django_etp.doctor.questions import Question, sign
from tests.support.inprocess import Wire

pytestmark = pytest.mark.usefixtures("etp_registry", "both_ways")

V2 = ["etp.ext.v2"]


async def answer_to(question: Question) -> Any:
    async with Wire(subprotocols=V2) as wire:
        await wire.text()
        wire.put(f"__doctor||1||{sign(question)}")
        name, number, data = (await wire.text()).split("||", 2)
        assert (name, number) == ("__ack___doctor", "1")
        return json.loads(data)


async def test_a_question_that_was_not_signed_is_an_unknown_event() -> None:
    names: list[str] = []
    on_unknown_event(lambda connection, event: names.append(event.name))
    async with Wire(subprotocols=V2) as wire:
        await wire.text()
        wire.put("__doctor||1||let me in")
        assert await wire.text() == "__ack___doctor||1"
        wire.put(f"__doctor||0||{sign(Question(time.time(), 'n'))}")
        wire.put("__doctor||2")
        assert await wire.text() == "__ack___doctor||2"
    assert names == ["__doctor"] * 3


async def test_without_a_hook_such_a_question_fails_as_any_unknown_event() -> None:
    async with Wire(subprotocols=V2) as wire:
        await wire.text()
        wire.put("__doctor||1||let me in")
        wire.put("__other||2")
        frames = {await wire.text(), await wire.text()}
    texts = {frame.replace("__doctor", "x").replace("__other", "x").partition("||")[0] for frame in frames}
    assert texts == {"__err_x"}
    assert all('"unknown_event"' in frame for frame in frames)


async def test_a_signed_question_is_answered_with_facts_and_no_secret(settings: Any) -> None:
    settings.SECRET_KEY = "x9-not-to-be-told"
    answer = await answer_to(Question(time.time(), "n"))
    assert abs(answer["process"]["now"] - time.time()) < 5
    assert answer["connection"]["host"] == "testserver"
    assert settings.SECRET_KEY not in json.dumps(answer)


async def test_a_plain_client_is_answered_too() -> None:
    async with Wire() as wire:
        wire.put(f"__doctor||1||{sign(Question(time.time(), 'n'))}")
        assert "process" in (await wire.text())


@pytest.mark.parametrize("to", [(), ("a.1",)])
async def test_an_old_question_is_answered_with_the_clock_alone(to: tuple[str, ...]) -> None:
    assert (await answer_to(Question(time.time() - 1000, "n", to))).keys() == {"now"}


async def test_a_question_lets_the_server_send_its_own_event_to_the_connections_that_it_names() -> None:
    async with Wire(subprotocols=V2) as sender, Wire(subprotocols=V2) as receiver, Wire(subprotocols=V2) as other:
        await sender.text()
        await other.text()
        id = json.loads((await receiver.text()).rpartition("||")[2])["id"]
        sender.put(f"__doctor||1||{sign(Question(time.time(), 'the nonce', (id, 'gone.1')))}")
        assert await receiver.text() == "__doctor||0||the nonce"
        assert json.loads((await sender.text()).rpartition("||")[2]) == {"problem": ""}
        other.put("__ping||1")
        assert await other.text() == "__ack___ping||1"
