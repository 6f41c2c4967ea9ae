"""Test the example's assistant without a browser. `test_example_project.py` runs it under the example's settings."""

import logging
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.test import Client

from django_etp.exceptions import EventFailed
from django_etp.testing import EtpCommunicator
from example_project.assistant import language_model, writing
from example_project.assistant.models import Answer
from example_project.celery import app
from tests.support.peers import eventually

pytestmark = pytest.mark.django_db

Communicator = type[EtpCommunicator]


@pytest.fixture(autouse=True)
def fast_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language_model, "PACE", 0)
    monkeypatch.setattr(writing, "PART_TIME", 0)


@pytest.fixture(autouse=True)
def eager_worker(settings: Any) -> Iterator[None]:
    """Run tasks at once, with the test's own database connection."""
    settings.BROKER = "memory://"
    app.conf.update(task_always_eager=True)
    yield
    app.conf.update(task_always_eager=False)


@pytest.fixture
def ada() -> User:
    return User.objects.create_user("Ada")


@pytest_asyncio.fixture
async def tab(etp_communicator: Communicator, ada: User) -> AsyncIterator[EtpCommunicator]:
    async with etp_communicator(user=ada, subprotocols=["etp.ext.v2"]) as client:
        yield client


def test_the_page_is_for_those_who_are_logged_in(client: Client, ada: User) -> None:
    assert client.get("/assistant/").status_code == 302
    client.force_login(ada)
    page = client.get("/assistant/")
    assert f'data-room="assistant/{ada.pk}"' in page.content.decode()
    assert page["Content-Security-Policy"].startswith("default-src 'none'")


async def test_a_stream_holds_the_words_of_the_model(tab: EtpCommunicator) -> None:
    parts = [part.json()["text"] async for part in tab.stream("ask", " Why? ")]
    assert "".join(parts) == language_model.TEXT.format(prompt="Why?")
    assert len(parts) > 100


async def test_a_stop_closes_the_generators(
    tab: EtpCommunicator, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(language_model, "PACE", 0.01)
    monkeypatch.setattr(logging.getLogger("example_project"), "propagate", True)
    await tab.send_frame("ask||1||Why?")
    await tab.expect_event("__part_ask")
    await tab.send_frame("__stop_ask||1")

    async def log() -> str:
        return caplog.text

    closed = re.compile(r"The stream for Ada was closed after [1-9]\d? words")
    await eventually(log, lambda text: closed.search(text) is not None, interval=0.01)


async def test_all_tabs_see_what_the_worker_writes(
    etp_communicator: Communicator, tab: EtpCommunicator, ada: User
) -> None:
    async with etp_communicator(user=ada, subprotocols=["etp.ext.v2"]) as other:
        rooms = [await client.join(f"assistant/{ada.pk}") for client in (tab, other)]
        assert [room.state for room in rooms] == [{"answer": None}] * 2
        await rooms[0].emit_with_ack("ask", "Why?")
        for room in rooms:
            begun = (await room.expect_event("answer")).json()
            assert (begun["prompt"], begun["parts"], begun["status"]) == ("Why?", [], "writing")
            parts = list[str]()
            while (event := await room.expect_event()).name == "part":
                parts.append(event.json()["text"])
                assert event.json() == {"pk": begun["pk"], "number": len(parts) - 1, "text": parts[-1]}
            assert event.json() == begun | {"parts": parts, "status": "done"}
            assert "".join(parts) == language_model.TEXT.format(prompt="Why?")


async def test_a_tab_that_comes_later_gets_the_answer_so_far(tab: EtpCommunicator, ada: User) -> None:
    await Answer.objects.acreate(owner=ada, prompt="Before?")
    answer = await Answer.objects.acreate(owner=ada, prompt="Why?", parts=["You ", "asked"])
    room = await tab.join(f"assistant/{ada.pk}")
    assert room.state["answer"] == {"pk": answer.pk, "prompt": "Why?", "parts": ["You ", "asked"], "status": "writing"}


async def test_a_stop_reaches_all_tabs_and_the_worker(tab: EtpCommunicator, ada: User) -> None:
    answer = await Answer.objects.acreate(owner=ada, prompt="Why?", parts=["You "])
    room = await tab.join(f"assistant/{ada.pk}")
    await room.emit_with_ack("stop")
    stopped = (await room.expect_event("answer")).json()
    assert (stopped["parts"], stopped["status"]) == (["You "], "stopped")
    await sync_to_async(writing.write)(f"assistant/{ada.pk}", answer.pk)
    await tab.expect_nothing()
    await answer.arefresh_from_db()
    assert (answer.parts, answer.status) == (["You "], "stopped")


async def test_a_new_question_stops_the_answer_before_it(tab: EtpCommunicator, ada: User) -> None:
    before = await Answer.objects.acreate(owner=ada, prompt="Before?")
    room = await tab.join(f"assistant/{ada.pk}")
    await room.emit_with_ack("ask", "Why?")
    await before.arefresh_from_db()
    assert before.status == "stopped"


async def test_the_room_of_another_user_is_closed(tab: EtpCommunicator, ada: User) -> None:
    with pytest.raises(EventFailed) as refusal:
        await tab.join(f"assistant/{ada.pk + 1}")
    assert refusal.value.code == "permission_denied"


@pytest.mark.parametrize(("prompt", "code"), [(" ", "empty"), ("x" * 301, "too_long")])
async def test_a_bad_question_is_refused_in_words(tab: EtpCommunicator, ada: User, prompt: str, code: str) -> None:
    room = await tab.join(f"assistant/{ada.pk}")
    for ask in (tab.emit_with_ack, room.emit_with_ack):
        with pytest.raises(EventFailed) as refusal:
            await ask("ask", prompt)
        assert refusal.value.code == code
    assert not await Answer.objects.aexists()
