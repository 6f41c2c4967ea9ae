"""Replies to queries, over a channel layer in memory."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from django_etp.cluster.directory import Directory
from django_etp.cluster.messages import Beat, Malformed, Message, Query, Receipt, Reply
from django_etp.cluster.responder import Responder
from django_etp.cluster.transport import Reading, Transport
from django_etp.exceptions import ConnectionClosed
from tests.support.inprocess import until

REPLIES = "etp.ask.asker"


class Site:
    """A hub whose result can be chosen, and the asker's group."""

    id = "me"

    def __init__(self) -> None:
        self.transport = Transport("default")
        self.directory = Directory()
        self.tasks: list[asyncio.Task[None]] = []
        self.responder = Responder(self, self.transport, self.directory, self._run)  # type: ignore[arg-type]
        self.outcome: Any = None
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.received: list[Message] = []

    async def answer(self, action: str, arguments: list[Any]) -> Any:
        await self.may_answer.wait()
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return [action, arguments, self.outcome]

    def _run(self, coroutine: Any) -> None:
        self.tasks.append(asyncio.create_task(coroutine))


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    await site.transport.open(Reading(site.received.append, lambda: None), None)
    await site.transport.add_control(REPLIES)
    yield site
    await site.transport.close()


async def test_a_reply_names_its_hub_and_the_hubs_it_knows(site: Site) -> None:
    site.directory.record(Beat("b", 1, 2.0, "channel", "control"), now=0)
    site.directory.record(Beat("c", 1, 2.0, "channel", "control", is_serving=False), now=0)
    site.outcome = 7
    await site.responder.reply(Query("1", REPLIES, "count", ["r"]))
    await until(lambda: site.received)
    assert site.received == [Reply("1", "me", ["b", "me"], ["count", ["r"], 7])]


async def test_a_query_that_wants_a_receipt_has_one_before_its_reply(site: Site) -> None:
    site.may_answer.clear()
    replying = asyncio.create_task(site.responder.reply(Query("1", REPLIES, "count", ["r"], wants_sign=True)))
    await until(lambda: site.received)
    assert site.received == [Receipt("1", "me", ["me"])]
    site.may_answer.set()
    await replying
    await until(lambda: len(site.received) == 2)


@pytest.mark.parametrize(
    ("error", "text", "level"),
    [
        (ConnectionClosed("it is gone"), "it is gone", logging.WARNING),
        (Malformed("the action is unknown here"), "the action is unknown here", logging.WARNING),
        (KeyError("x"), "KeyError: 'x'", logging.ERROR),
    ],
    ids=["EtpError", "Malformed", "another"],
)
async def test_an_error_is_sent_and_logged(
    site: Site, error: Exception, text: str, level: int, caplog: pytest.LogCaptureFixture, monkeypatch: Any
) -> None:
    monkeypatch.setattr("django_etp.cluster.reader._complained_of", set())
    site.outcome = error
    await site.responder.reply(Query("1", REPLIES, "count", ["r"]))
    await until(lambda: site.received)
    assert site.received == [Reply("1", "me", ["me"], error=text)]
    assert [record.levelno for record in caplog.records] == [level]
