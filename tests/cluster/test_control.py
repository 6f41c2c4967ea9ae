"""Each control message reaches the part of a node that it concerns, over a channel layer that keeps what is sent."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer

from django_etp.cluster.control import Control
from django_etp.cluster.directory import Directory
from django_etp.cluster.eviction import Eviction
from django_etp.cluster.heartbeat import Heartbeat
from django_etp.cluster.inquiries import Inquiries
from django_etp.cluster.liveness import Liveness
from django_etp.cluster.messages import (
    Beat,
    Echo,
    Evicted,
    Foreign,
    Malformed,
    Message,
    Numbers,
    Query,
    Receipt,
    Reply,
    RoomMessage,
    Wanted,
)
from django_etp.cluster.publisher import Publisher
from django_etp.cluster.responder import Responder
from django_etp.cluster.rpc import Queries
from django_etp.cluster.traffic import Traffic
from django_etp.cluster.transport import Transport
from tests.support.hurry import hurried
from tests.support.inprocess import until


class SendingLayer(InMemoryChannelLayer):
    """A channel layer that keeps what is sent to groups."""

    sent: list[tuple[str, str]]

    async def group_send(self, group: str, message: Any) -> None:
        SendingLayer.sent.append((group, message["type"]))


class Site:
    """The parts of a node that control messages concern."""

    id = "me"

    def __init__(self, *, is_serving: bool = True) -> None:
        host: Any = self
        self.transport = Transport("default")
        self.directory = Directory()
        self.liveness = Liveness(receives_rooms=True)
        self.heartbeat = Heartbeat("me", "etp.hub.me", self.transport, self.directory, self.liveness)
        self.queries = Queries("me", self._send, "etp.ask.me", self.directory.is_gone)
        self.traffic = Traffic(host, self.liveness, lambda stream: False)
        self.tasks: set[asyncio.Task[None]] = set()
        self.queried: asyncio.Queue[Query] = asyncio.Queue()
        self.rejoins = 0
        self.inquiries = Inquiries(
            "etp.ask.me",
            transport=self.transport,
            directory=self.directory,
            liveness=self.liveness,
            publisher=Publisher("me", self.transport.send, self._send_to_all),
            traffic=self.traffic,
            groups=lambda: ("etp.room.r",),
            run=self._run,
        )
        self.control = Control(
            "me",
            liveness=self.liveness,
            directory=self.directory,
            heartbeat=self.heartbeat,
            eviction=Eviction(self.transport, self.directory, tuple, self._run),
            inquiries=self.inquiries,
            queries=self.queries,
            responder=Responder(host, self.transport, self.directory, self._run),
            rejoin=self._rejoin,
            run=self._run,
            is_serving=is_serving,
        )

    async def answer(self, action: str, arguments: list[Any]) -> int:
        return 1

    async def ask(self, *known: str) -> tuple[asyncio.Task[dict[str, Any]], str]:
        """Query all; return the task that waits for the replies, and the query's id."""
        for hub in known:
            self.control.receive(beat(hub))
        task = asyncio.create_task(self.queries.ask(None, self.directory.serving, "count", [], 30, knows_all=True))
        return task, (await self.queried.get()).id

    def _rejoin(self) -> None:
        self.rejoins += 1

    def _run(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(coroutine)
        self.tasks.add(task)
        return task

    async def _send_to_all(self, message: dict[str, Any]) -> None:
        await self.transport.send_control("etp.control", message)

    async def _send(self, hub: str | None, query: Query) -> None:
        self.queried.put_nowait(query)


@pytest.fixture(autouse=True)
def layer(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The layer of the settings."""
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": f"{__name__}.SendingLayer"}}
    monkeypatch.setattr(SendingLayer, "sent", [], raising=False)


def beat(hub: str, number: int = 1, **options: Any) -> Beat:
    return Beat(hub, number, 2.0, f"{hub}-traffic", f"{hub}-control", **options)


async def sent_after(site: Site) -> list[tuple[str, str]]:
    """Return what a node has sent once its tasks are done."""
    await asyncio.gather(*site.tasks)
    return SendingLayer.sent


async def test_an_own_heartbeat_counts_as_received_and_makes_no_other_node():
    site = Site()
    site.control.receive(beat("me", site.liveness.next_beat(1.0)))
    assert site.liveness.has_received(1)
    assert len(site.directory) == 0


async def test_a_heartbeat_of_another_node_is_recorded():
    site = Site()
    site.control.receive(beat("other"))
    assert site.directory.serving == {"other"}
    assert await sent_after(site) == []


@pytest.mark.parametrize(("is_serving", "sent"), [(True, [("etp.control", "etp.beat")]), (False, [])])
async def test_a_node_with_connections_answers_a_new_one_with_a_heartbeat(is_serving: bool, sent: Any) -> None:
    site = Site(is_serving=is_serving)
    site.control.receive(beat("other", is_new=True))
    assert await sent_after(site) == sent


async def test_an_expired_node_that_sends_a_heartbeat_is_notified():
    site = Site()
    site.control.receive(beat("other"))
    site.directory.expire(asyncio.get_running_loop().time() + 7)
    site.control.receive(beat("other", 2))
    assert await sent_after(site) == [("etp.control", "etp.buried")]


async def test_the_last_heartbeat_of_a_node_ends_the_wait_for_its_replies():
    site = Site()
    asking, id = await site.ask("other")
    site.control.receive(Query(id, "etp.ask.me", "count", []))
    site.control.receive(beat("other", 2, is_last=True))
    async with asyncio.timeout(5):
        assert await asking == {}


@pytest.mark.parametrize(("hub", "rejoins"), [("me", 1), ("other", 0)])
async def test_a_node_that_was_evicted_joins_its_groups_again_and_asks_what_it_missed(hub: str, rejoins: int) -> None:
    site = Site()
    site.control.receive(Evicted(hub))
    assert site.rejoins == rejoins
    site.inquiries.look(asyncio.get_running_loop().time())
    assert await sent_after(site) == [("etp.control", "etp.wanted")] * rejoins


@hurried
async def test_last_numbers_reach_the_traffic():
    site = Site()
    site.traffic.joined("etp.room.r")
    site.traffic.take_unclear(9)
    await asyncio.sleep(1)
    site.control.receive(Numbers([["etp.room.r", "other.1", 1.0, 2, 3]], [0.0]))
    assert site.traffic.take_unclear(9) == ["etp.room.r"]


@hurried
async def test_a_request_for_numbers_is_answered():
    site = Site()
    site.control.receive(Numbers([["etp.room.r", "other.1", 1.0, 2, 3]], [0.0]))
    await asyncio.sleep(5)
    site.control.receive(Wanted("etp.ask.b", 1, [], 60.0))
    assert await sent_after(site) == [("etp.ask.b", "etp.numbers")]


async def test_heartbeats_and_numbers_prove_that_the_control_group_is_received():
    for message in (beat("me"), beat("other"), Numbers([])):
        site = Site()
        site.control.receive(message)
        await asyncio.sleep(0)
        assert site.liveness.receives_for(asyncio.get_running_loop().time() + 1) > 0
    site = Site()
    site.control.receive(Evicted("me"))
    site.control.receive(Numbers([], asked=1))
    assert site.liveness.receives_for(asyncio.get_running_loop().time() + 1) == 0


async def test_own_query_receipts_and_replies_reach_the_queries():
    site = Site()
    asking, id = await site.ask("a")
    site.control.receive(Query(id, "etp.ask.me", "count", []))
    site.control.receive(Receipt(id, "b", ["a", "b"]))
    site.control.receive(Reply(id, "a", ["a"], 1))
    await asyncio.sleep(0)
    assert not asking.done()
    site.control.receive(Reply(id, "b", ["b"], 2))
    assert await asking == {"a": 1, "b": 2}
    assert await sent_after(site) == []


@pytest.mark.parametrize(("is_serving", "sent"), [(True, [("etp.ask.other", "etp.answer")]), (False, [])])
async def test_only_a_node_with_connections_replies_to_queries(is_serving: bool, sent: Any) -> None:
    site = Site(is_serving=is_serving)
    site.control.receive(Query("1", "etp.ask.other", "count", []))
    assert await sent_after(site) == sent
    await until(lambda: all(task.done() for task in site.tasks))


@pytest.mark.parametrize(
    "message", [Echo("me", 1), Foreign("r", "news"), RoomMessage("etp.room.r", "s", 1.0, 1, 0, ["x"])], ids=repr
)
async def test_a_message_that_belongs_elsewhere_is_malformed(message: Message) -> None:
    with pytest.raises(Malformed, match="does not belong"):
        Site().control.receive(message)
