"""When the replies to a query are complete."""

import asyncio
from typing import Any

import pytest

from django_etp.cluster.messages import Query, Receipt, Reply
from django_etp.cluster.rpc import Queries
from django_etp.exceptions import IncompleteAnswer, LayerUnavailable
from tests.support.hurry import hurried, seconds

PATIENCE = 30.0  # seconds that no test should come near


class Asker:
    """Queries whose sending can be seen, and made to fail."""

    def __init__(self) -> None:
        self.sent: asyncio.Queue[tuple[str | None, Query]] = asyncio.Queue()
        self.gone: set[str] = set()
        self.error: Exception | None = None
        self.queries = Queries("me", self._send, "etp.ask.me", self.gone.__contains__)

    async def ask(self, *known: str, hub: str | None = None, timeout: float = PATIENCE, **options: Any) -> Any:
        return await self.queries.ask(hub, frozenset(known), "count", ["r"], timeout, **options)

    async def begin(self, *known: str, **options: Any) -> tuple[asyncio.Task[Any], str]:
        """Ask, and return the task that waits for the replies, and the query's id."""
        task = asyncio.create_task(self.ask(*known, **options))
        _, query = await self.sent.get()
        return task, query.id

    def reply(self, id: str, hub: str, result: object = 1, *, known: tuple[str, ...] = (), error: str = "") -> None:
        self.queries.receive(Reply(id, hub, [hub, *known], result, error))

    async def _send(self, hub: str | None, query: Query) -> None:
        if self.error:
            raise self.error
        self.sent.put_nowait((hub, query))


async def is_waiting(task: asyncio.Task[Any]) -> bool:
    """Return whether a task still waits once all else has had its turn."""
    for _ in range(5):
        await asyncio.sleep(0)
    return not task.done()


async def test_a_query_to_all_is_complete_once_all_known_nodes_have_replied():
    asker = Asker()
    task, id = await asker.begin("a", "b")
    asker.queries.receive_own(id, frozenset("ab"))
    asker.reply(id, "a", 1)
    assert await is_waiting(task)
    asker.reply(id, "b", 2)
    assert await task == {"a": 1, "b": 2}


async def test_a_node_that_a_reply_names_must_reply_too():
    asker = Asker()
    task, id = await asker.begin("a")
    asker.queries.receive_own(id, frozenset("a"))
    asker.reply(id, "a", known=("b", "me"))
    assert await is_waiting(task)
    asker.reply(id, "b")
    assert await task == {"a": 1, "b": 1}


async def test_values_in_a_reply_that_name_no_hub_are_ignored():
    asker = Asker()
    task, id = await asker.begin("a")
    asker.queries.receive_own(id, frozenset("a"))
    asker.reply(id, "a", known=(7, ["b"], None))
    assert await task == {"a": 1}


async def test_a_node_that_the_asker_knows_to_be_gone_need_not_reply():
    asker = Asker()
    asker.gone.add("b")
    task, id = await asker.begin("a")
    asker.queries.receive_own(id, frozenset("a"))
    asker.reply(id, "a", known=("b",))
    assert await task == {"a": 1}


async def test_a_node_that_became_known_before_the_query_came_back_must_reply():
    asker = Asker()
    task, id = await asker.begin("a", knows_all=True)
    asker.reply(id, "a")
    assert await is_waiting(task)
    asker.queries.receive_own(id, frozenset("ab"))
    assert await is_waiting(task)
    asker.reply(id, "b")
    assert await task == {"a": 1, "b": 1}


async def test_an_asker_that_knows_it_is_alone_has_its_result_at_once():
    asker = Asker()
    task, id = await asker.begin(knows_all=True)
    assert await is_waiting(task)
    asker.queries.receive_own(id, frozenset())
    async with asyncio.timeout(0.4):
        assert await task == {}


@hurried
async def test_a_new_asker_waits_half_a_second_for_any_node():
    asker = Asker()
    task, id = await asker.begin()
    asker.queries.receive_own(id, frozenset())
    assert await seconds(task) == pytest.approx(0.5, abs=0.1)
    assert await task == {}


@hurried
async def test_a_new_asker_counts_its_half_second_from_when_its_query_is_back():
    asker = Asker()
    task, id = await asker.begin()
    await asyncio.sleep(0.6)
    asker.queries.receive_own(id, frozenset())
    assert await seconds(task) == pytest.approx(0.5, abs=0.1)
    assert await task == {}


@hurried
async def test_a_node_that_sent_a_receipt_must_reply_and_so_must_those_it_knows():
    asker = Asker()
    task, id = await asker.begin()
    asker.queries.receive_own(id, frozenset())
    asker.queries.receive_receipt(Receipt(id, "a", ["a", "b", "me"]))
    await asyncio.sleep(10)
    asker.reply(id, "a", 7)
    assert await is_waiting(task)
    asker.reply(id, "b", 8)
    assert await task == {"a": 7, "b": 8}


@hurried
async def test_a_node_that_sent_a_receipt_and_no_reply_is_missing():
    asker = Asker()
    task, id = await asker.begin(timeout=3.0)
    asker.queries.receive_own(id, frozenset())
    asker.queries.receive_receipt(Receipt(id, "a", ["a"]))
    asker.queries.receive_receipt(Receipt("another", "b", ["b"]))
    assert await seconds(task) == pytest.approx(3, abs=0.1)
    with pytest.raises(IncompleteAnswer, match="1 of 1 processes"):
        await task


@pytest.mark.parametrize(
    ("options", "wants_sign"),
    [
        ({}, True),
        ({"knows_all": True}, False),
        ({"knows_all": True, "late": frozenset("a")}, True),
        ({"knows_all": True, "late": frozenset("b")}, False),
        ({"hub": "a"}, False),
        ({"hub": "a", "late": frozenset("a")}, True),
        ({"hub": "a", "late": frozenset("b")}, False),
    ],
    ids=repr,
)
async def test_receipts_are_wanted_by_a_new_sender_and_of_late_nodes(options: Any, wants_sign: bool) -> None:
    asker = Asker()
    task = asyncio.create_task(asker.ask("a", **options))
    _, query = await asker.sent.get()
    assert query.wants_sign is wants_sign
    task.cancel()
    await asyncio.wait([task])


async def test_a_new_asker_waits_longer_for_the_hub_of_one_connection():
    asker = Asker()
    loop = asyncio.get_running_loop()
    began_at = loop.time()
    task, id = await asker.begin(expects_one=True)
    asker.queries.receive_own(id, frozenset())
    loop.call_later(0.8, asker.reply, id, "a")
    assert await task == {"a": 1}
    assert loop.time() - began_at < PATIENCE


async def test_a_new_asker_has_the_result_of_a_node_it_did_not_know():
    asker = Asker()
    task, id = await asker.begin()
    asker.queries.receive_own(id, frozenset())
    asker.reply(id, "a", 7)
    assert await task == {"a": 7}


async def test_a_query_that_does_not_come_back_is_not_complete():
    asker = Asker()
    task, id = await asker.begin("a", timeout=0.1)
    asker.reply(id, "a", 7)
    with pytest.raises(IncompleteAnswer, match="did not come back") as incomplete:
        await task
    assert incomplete.value.answer == {"a": 7}


async def test_a_node_that_does_not_reply_in_time_leaves_the_answer_incomplete():
    asker = Asker()
    task, id = await asker.begin("a", "b", timeout=0.1)
    asker.queries.receive_own(id, frozenset("ab"))
    asker.reply(id, "a", 7)
    with pytest.raises(IncompleteAnswer, match=r"1 of 2 processes .* within 0\.1 s") as incomplete:
        await task
    assert incomplete.value.answer == {"a": 7}


async def test_a_node_that_failed_leaves_the_answer_incomplete_at_once_with_its_reason():
    asker = Asker()
    task, id = await asker.begin("a", "b")
    asker.queries.receive_own(id, frozenset("ab"))
    asker.reply(id, "a", 7)
    asker.reply(id, "b", error="the action 'count' is unknown here")
    with pytest.raises(IncompleteAnswer, match="is unknown here") as incomplete:
        await task
    assert incomplete.value.answer == {"a": 7}


async def test_a_node_that_goes_meanwhile_is_not_waited_for():
    asker = Asker()
    task, id = await asker.begin("a", "b")
    asker.queries.receive_own(id, frozenset("ab"))
    asker.reply(id, "a", 7)
    asker.queries.forget("b")
    assert await task == {"a": 7}


async def test_a_query_to_one_hub_needs_its_reply_alone():
    asker = Asker()
    task, id = await asker.begin("a", "b", hub="b")
    asker.reply(id, "b", 7, known=("c",))
    assert await task == {"b": 7}


async def test_the_result_of_one_hub_that_goes_meanwhile_is_none():
    asker = Asker()
    task, _ = await asker.begin("a", "b", hub="b")
    asker.queries.forget("b")
    assert await task == {"b": None}


async def test_a_query_goes_to_its_hub_or_to_all_with_the_group_for_replies():
    asker = Asker()
    asking = [asyncio.create_task(asker.ask("a", hub=hub)) for hub in (None, "a")]
    for hub in (None, "a"):
        sent_to, query = await asker.sent.get()
        assert sent_to == hub
        assert (query.answer_to, query.action, query.arguments) == ("etp.ask.me", "count", ["r"])
    for task in asking:
        task.cancel()
    await asyncio.wait(asking)


async def test_a_query_that_cannot_be_sent_raises():
    asker = Asker()
    asker.error = OSError("broken pipe")
    with pytest.raises(LayerUnavailable, match="broken pipe"):
        await asker.ask("a")


@pytest.mark.parametrize("text", ["The channel layer could not be opened yet.", "could not be opened", "", " . "])
async def test_the_message_on_a_query_that_cannot_be_sent_ends_with_one_full_stop(text: str):
    asker = Asker()
    asker.error = LayerUnavailable(text)
    with pytest.raises(LayerUnavailable, match=r"LayerUnavailable[^.]*\.$"):
        await asker.ask("a")


async def test_replies_to_no_pending_query_are_dropped():
    asker = Asker()
    task, id = await asker.begin("a", hub="a")
    asker.reply("another", "a", 9)
    asker.queries.receive_own("another", frozenset("b"))
    asker.reply(id, "a", 7)
    assert await task == {"a": 7}
    asker.reply(id, "a", 8)


async def test_replies_reach_their_own_query():
    asker = Asker()
    (one, first), (other, second) = await asker.begin("a", hub="a"), await asker.begin("a", hub="a")
    asker.reply(second, "a", 2)
    asker.reply(first, "a", 1)
    assert await one == {"a": 1}
    assert await other == {"a": 2}


# Nodes that are probably dead


@hurried
async def test_a_node_whose_heartbeat_is_late_is_given_up_if_no_receipt_comes_within_a_second():
    asker = Asker()
    task, id = await asker.begin("a", "b", late=frozenset("b"), knows_all=True, timeout=2.0)
    asker.queries.receive_own(id, frozenset("ab"))
    asker.reply(id, "a", 7)
    await asyncio.sleep(0.9)
    asker.queries.give_up(frozenset("b"))
    assert await is_waiting(task)
    await asyncio.sleep(0.1)
    asker.queries.give_up(frozenset("b"))
    with pytest.raises(IncompleteAnswer, match=r"1 of 2 processes .* 1 s: no heartbeat of 1") as incomplete:
        await task
    assert incomplete.value.answer == {"a": 7}


@hurried
async def test_the_second_counts_from_when_the_query_is_back():
    asker = Asker()
    task, id = await asker.begin("b", late=frozenset("b"))
    await asyncio.sleep(1.1)
    asker.queries.give_up(frozenset("b"))
    asker.queries.receive_own(id, frozenset("b"))
    asker.queries.give_up(frozenset("b"))
    assert await is_waiting(task)
    await asyncio.sleep(1.0)
    asker.queries.give_up(frozenset("b"))
    with pytest.raises(IncompleteAnswer):
        await task


@hurried
async def test_a_longer_timeout_gives_a_quarter_of_itself_to_the_receipt():
    asker = Asker()
    task, id = await asker.begin("b", late=frozenset("b"), timeout=10.0)
    asker.queries.receive_own(id, frozenset("b"))
    await asyncio.sleep(2.4)
    asker.queries.give_up(frozenset("b"))
    assert await is_waiting(task)
    await asyncio.sleep(0.1)
    asker.queries.give_up(frozenset("b"))
    with pytest.raises(IncompleteAnswer):
        await task


@hurried
async def test_a_late_node_that_sent_a_receipt_is_waited_for():
    asker = Asker()
    task, id = await asker.begin("a", "b", late=frozenset("b"), knows_all=True, timeout=2.0)
    asker.queries.receive_own(id, frozenset("ab"))
    asker.queries.receive_receipt(Receipt(id, "b", ["b"]))
    asker.reply(id, "a", 7)
    await asyncio.sleep(1.5)
    asker.queries.give_up(frozenset("b"))
    assert await is_waiting(task)
    asker.reply(id, "b", 8)
    assert await task == {"a": 7, "b": 8}


@pytest.mark.parametrize("sends", ["receipt", "reply"])
def test_a_node_that_was_given_up_counts_again_once_it_responds(sends: str) -> None:
    @hurried
    async def ask() -> None:
        asker = Asker()
        task, id = await asker.begin("a", "b", late=frozenset("b"), knows_all=True)
        asker.queries.receive_own(id, frozenset("ab"))
        await asyncio.sleep(10)
        asker.queries.give_up(frozenset("b"))
        if sends == "receipt":
            asker.queries.receive_receipt(Receipt(id, "b", ["b"]))
            asker.reply(id, "a", 7)
            assert await is_waiting(task)
        asker.reply(id, "b", 8)
        asker.reply(id, "a", 7)
        assert await task == {"a": 7, "b": 8}

    ask()


@hurried
async def test_one_hub_whose_heartbeat_is_late_is_given_up_too():
    asker = Asker()
    task, id = await asker.begin("a", "b", hub="b", late=frozenset("b"), timeout=2.0)
    own_copy_to, copy = await asker.sent.get()
    assert (own_copy_to, copy.id) == ("me", id)
    asker.queries.receive_own(id, frozenset("ab"))
    await asyncio.sleep(1.0)
    asker.queries.give_up(frozenset("b"))
    with pytest.raises(IncompleteAnswer, match="1 of 1 processes"):
        await task


@hurried
async def test_one_hub_is_not_given_up_by_a_node_that_receives_nothing_itself():
    asker = Asker()
    task, id = await asker.begin("a", "b", hub="b", late=frozenset("b"), timeout=2.0)
    await asyncio.sleep(1.0)
    asker.queries.give_up(frozenset("b"))
    assert await is_waiting(task)
    asker.queries.receive_own(id, frozenset("ab"))
    asker.reply(id, "b", 8)
    assert await task == {"b": 8}


@hurried
async def test_no_node_is_given_up_that_was_not_asked_for_a_receipt():
    """Its heartbeat was late only after the query was sent."""
    asker = Asker()
    task, id = await asker.begin("a", knows_all=True, timeout=2.0)
    asker.queries.receive_own(id, frozenset("a"))
    await asyncio.sleep(1.9)
    asker.queries.give_up(frozenset("a"))
    assert await is_waiting(task)
    asker.reply(id, "a", 7)
    assert await task == {"a": 7}
