"""Joins and leaves, with plain async functions in the layer's place."""

import asyncio
import logging
from collections.abc import Collection

import pytest

from django_etp.cluster.subscriptions import Subscriptions
from tests.support.hurry import hurried, kept, seconds


class Layer:
    """What the layer was asked, and who is in its groups; it fails, or waits, where it is told to."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.members: set[str] = set()
        self.joined: list[str] = []
        self.at_once = self.most_at_once = 0
        self.is_down = False
        self.refused: set[str] = set()
        self.takes = 0.0  # seconds, each call
        self.is_open = asyncio.Event()
        self.is_open.set()
        self.subscriptions = Subscriptions(self._add, self._discard, self.joined.append)

    async def _add(self, group: str) -> None:
        await self._call(f"add {group}")
        self.members.add(group)

    async def _discard(self, group: str) -> None:
        await self._call(f"discard {group}")
        self.members.discard(group)

    async def _call(self, name: str) -> None:
        self.calls.append(name)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await self.is_open.wait()
            if self.takes:
                await asyncio.sleep(self.takes)
            if self.is_down or name.partition(" ")[2] in self.refused:
                raise ConnectionError("down")
        finally:
            self.at_once -= 1


@hurried
async def test_join_returns_once_the_layer_has_confirmed():
    layer = Layer()
    await layer.subscriptions.join("a")
    assert layer.members == {"a"}
    assert layer.joined == ["a"]


@hurried
async def test_joining_twice_asks_the_layer_once():
    layer = Layer()
    await asyncio.gather(*(layer.subscriptions.join("a") for _ in range(3)))
    await layer.subscriptions.join("a")
    assert layer.calls == ["add a"]


@hurried
async def test_leave_reaches_the_layer():
    layer = Layer()
    await layer.subscriptions.join("a")
    layer.subscriptions.leave("a")
    await layer.subscriptions.settle(5)
    assert layer.members == set()


@hurried
async def test_joined_and_left_at_once_never_reaches_the_layer():
    layer = Layer()
    joining = layer.subscriptions.join("a")
    layer.subscriptions.leave("a")
    await joining
    await layer.subscriptions.settle(5)
    assert layer.calls == []
    assert kept(layer.subscriptions) == {}


@hurried
async def test_groups_left_before_their_joins_are_awaited_stay_left():
    """A hub awaits the joins of several groups at once, by tasks that have not begun yet when a leave comes."""
    layer = Layer()
    joining = asyncio.gather(*(layer.subscriptions.join(group) for group in "ab"))
    for group in "ab":
        layer.subscriptions.leave(group)
    await joining
    await layer.subscriptions.settle(5)
    assert layer.members == set()
    assert kept(layer.subscriptions) == {}


@hurried
async def test_left_while_a_join_is_under_way_is_left_and_not_told_as_joined():
    layer = Layer()
    layer.is_open.clear()
    joining = asyncio.ensure_future(layer.subscriptions.join("a"))
    await asyncio.sleep(0.1)
    layer.subscriptions.leave("a")
    layer.is_open.set()
    await joining
    await layer.subscriptions.settle(5)
    assert layer.calls == ["add a", "discard a"]
    assert layer.joined == []
    assert kept(layer.subscriptions) == {}


@hurried
async def test_joined_again_while_a_leave_is_under_way_ends_up_joined():
    layer = Layer()
    await layer.subscriptions.join("a")
    layer.is_open.clear()
    layer.subscriptions.leave("a")
    await asyncio.sleep(0.1)
    joining = asyncio.ensure_future(layer.subscriptions.join("a"))
    layer.is_open.set()
    await joining
    assert layer.members == {"a"}
    assert layer.calls == ["add a", "discard a", "add a"]


@hurried
async def test_left_twice_is_left_once():
    layer = Layer()
    await layer.subscriptions.join("a")
    layer.is_open.clear()
    layer.subscriptions.leave("a")
    await asyncio.sleep(0.1)
    layer.subscriptions.leave("a")
    layer.is_open.set()
    await layer.subscriptions.settle(5)
    assert layer.calls == ["add a", "discard a"]


@hurried
async def test_few_calls_are_under_way_at_once():
    layer = Layer()
    layer.is_open.clear()
    asyncio.get_running_loop().call_later(1, layer.is_open.set)
    await asyncio.gather(*(layer.subscriptions.join(str(number)) for number in range(500)))
    assert len(layer.members) == 500
    assert layer.most_at_once == 8


@hurried
async def test_asked_as_all_workers_end_is_done():
    layer = Layer()
    layer.is_open.clear()
    joins = [asyncio.ensure_future(layer.subscriptions.join(str(number))) for number in range(8)]
    await asyncio.sleep(0.1)
    layer.is_open.set()
    await asyncio.sleep(0)  # here their tasks are done, and nobody was told yet
    assert await seconds(layer.subscriptions.join("late")) < 0.1
    assert "late" in layer.members
    await asyncio.gather(*joins)


@hurried
async def test_join_gives_up_waiting_after_1_5_s_and_comes_true_later():
    layer = Layer()
    layer.is_open.clear()
    assert await seconds(layer.subscriptions.join("a")) == pytest.approx(1.5, abs=0.1)
    layer.is_open.set()
    await asyncio.sleep(0.1)
    assert layer.members == {"a"}


@hurried
async def test_join_of_a_layer_that_fails_waits_for_nothing():
    layer = Layer()
    layer.is_down = True
    await layer.subscriptions.join("a")
    assert layer.subscriptions.is_failing
    assert await seconds(layer.subscriptions.join("b")) < 0.01


@hurried
async def test_failed_joins_and_leaves_are_tried_until_they_work():
    layer = Layer()
    await layer.subscriptions.join("left")
    layer.is_down = True
    layer.subscriptions.leave("left")
    await layer.subscriptions.join("joined")
    await asyncio.sleep(60)
    layer.is_down = False
    await asyncio.sleep(2.5)
    assert layer.members == {"joined"}
    assert not layer.subscriptions.is_failing
    assert layer.joined == ["left", "joined"]


@hurried
async def test_failed_join_that_is_not_wanted_any_more_is_undone():
    """It may have been done all the same."""
    layer = Layer()
    layer.is_down = True
    await layer.subscriptions.join("a")
    layer.members.add("a")
    layer.subscriptions.leave("a")
    layer.is_down = False
    await asyncio.sleep(5)
    assert layer.members == set()
    assert kept(layer.subscriptions) == {}


@hurried
async def test_leave_that_failed_half_way_joins_before_it_leaves():
    """Pub/sub layers take one that failed for one that was done."""
    layer = Layer()
    await layer.subscriptions.join("a")
    layer.is_down = True
    layer.subscriptions.leave("a")
    await asyncio.sleep(0.05)
    layer.is_down = False
    layer.calls.clear()
    await asyncio.sleep(5)
    assert layer.calls == ["add a", "discard a"]
    assert kept(layer.subscriptions) == {}


@hurried
async def test_call_that_hangs_is_cut_off_after_8_s():
    layer = Layer()
    layer.is_open.clear()
    await layer.subscriptions.join("a")
    await asyncio.sleep(6.55)
    assert layer.at_once == 0
    assert layer.subscriptions.is_failing


@hurried
async def test_join_again_joins_all_that_is_wanted_and_tells_of_each():
    layer = Layer()
    for group in "abc":
        await layer.subscriptions.join(group)
    layer.subscriptions.leave("b")
    await layer.subscriptions.settle(5)
    layer.members.clear()
    layer.subscriptions.join_again()
    await layer.subscriptions.settle(5)
    assert layer.members == {"a", "c"}
    assert layer.joined == ["a", "b", "c", "a", "c"]


@hurried
async def test_wanted_is_joined_when_all_is_joined_again():
    layer = Layer()
    layer.subscriptions.want("a", "b")
    assert layer.calls == []
    layer.subscriptions.join_again()
    await layer.subscriptions.settle(5)
    assert layer.members == {"a", "b"}


@hurried
async def test_thousand_groups_joined_and_left_leave_nothing_behind():
    layer = Layer()
    for number in range(1000):
        await layer.subscriptions.join(str(number))
        layer.subscriptions.leave(str(number))
    await layer.subscriptions.settle(5)
    await asyncio.sleep(0)
    assert layer.members == set()
    assert kept(layer.subscriptions) == {}


@hurried
async def test_settle_waits_until_all_is_done():
    layer = Layer()
    layer.is_open.clear()
    asyncio.get_running_loop().call_later(1, layer.is_open.set)
    joins = [asyncio.ensure_future(layer.subscriptions.join(str(number))) for number in range(20)]
    await asyncio.sleep(0)
    assert await seconds(layer.subscriptions.settle(30)) == pytest.approx(1, abs=0.1)
    assert len(layer.members) == 20
    await asyncio.gather(*joins)


@hurried
async def test_settle_waits_no_longer_than_it_may():
    layer = Layer()
    layer.is_open.clear()
    joining = asyncio.ensure_future(layer.subscriptions.join("a"))
    await asyncio.sleep(0)
    assert await seconds(layer.subscriptions.settle(0.5)) == pytest.approx(0.5, abs=0.1)
    await joining


@hurried
async def test_stopped_lets_go_of_those_who_wait_and_may_be_used_again():
    layer = Layer()
    layer.is_open.clear()
    joining = asyncio.ensure_future(layer.subscriptions.join("a"))
    await asyncio.sleep(0)
    layer.subscriptions.stop()
    assert await seconds(joining) < 0.01
    layer.is_open.set()
    await asyncio.sleep(1)
    assert layer.members == set()
    layer.subscriptions.join_again()
    await layer.subscriptions.join("b")
    assert layer.members == {"a", "b"}


def test_failure_is_logged_once_and_its_end(caplog):
    caplog.set_level(logging.INFO, "django_etp.cluster.subscriptions")

    @hurried
    async def fail_for_a_while() -> None:
        layer = Layer()
        layer.is_down = True
        await layer.subscriptions.join("a")
        await asyncio.sleep(30)
        layer.is_down = False
        await asyncio.sleep(3)

    fail_for_a_while()
    refused, taken_again = caplog.messages
    assert "refused a join or leave" in refused
    assert "ConnectionError('down')" in refused
    assert taken_again == "The channel layer accepts joins and leaves again."


def test_failure_of_some_groups_is_logged_once_though_others_are_joined_meanwhile(caplog):
    """One of the servers that a layer is spread over is down."""
    caplog.set_level(logging.INFO, "django_etp.cluster.subscriptions")

    @hurried
    async def fail_for_a_while() -> None:
        layer = Layer()
        layer.refused = {"a", "b"}
        for group in "abcd":
            await layer.subscriptions.join(group)
        for _ in range(30):
            layer.subscriptions.join_again()
            await asyncio.sleep(1)
        assert [len(caplog.messages), layer.joined.count("d") > 20] == [1, True]
        layer.subscriptions.leave("b")
        layer.refused.clear()
        await asyncio.sleep(3)

    fail_for_a_while()
    assert [message.partition(" layer ")[2][:7] for message in caplog.messages] == ["refused", "accepts"]


@hurried
async def test_joins_and_leaves_go_before_those_that_are_joined_again():
    layer = Layer()
    groups = [str(number) for number in range(1000)]
    await asyncio.gather(*(layer.subscriptions.join(group) for group in groups))
    layer.calls.clear()
    layer.takes = 0.1
    layer.subscriptions.join_again()
    layer.subscriptions.leave("999")
    assert await seconds(layer.subscriptions.join("new")) < 0.3
    assert await seconds(layer.subscriptions.join("998")) < 0.3
    assert len(layer.calls) < 50
    await layer.subscriptions.settle(60)
    assert sorted(layer.calls) == sorted(["add new", "discard 999", *(f"add {group}" for group in groups[:-1])])
    assert layer.members == {*groups[:-1], "new"}


@hurried
async def test_one_group_is_joined_again_alone_if_it_is_still_wanted():
    layer = Layer()
    for group in "abc":
        await layer.subscriptions.join(group)
    layer.subscriptions.leave("b")
    await layer.subscriptions.settle(5)
    layer.calls.clear()
    for group in "abz":
        layer.subscriptions.join_again(group)
    await layer.subscriptions.settle(5)
    assert layer.calls == ["add a"]


@hurried
async def test_what_fails_while_all_is_joined_again_is_tried_until_it_works():
    layer = Layer()
    await asyncio.gather(*(layer.subscriptions.join(group) for group in "abc"))
    layer.is_down = True
    layer.members.clear()
    layer.subscriptions.join_again()
    await asyncio.sleep(10)
    assert layer.members == set()
    layer.is_down = False
    await asyncio.sleep(10)
    assert layer.members == set("abc")


@hurried
async def test_once_a_join_has_waited_in_vain_no_other_waits_until_the_layer_takes_calls():
    layer = Layer()
    layer.is_open.clear()
    assert await seconds(layer.subscriptions.join("a")) == pytest.approx(1.5, abs=0.1)
    assert await seconds(layer.subscriptions.join("b")) == pytest.approx(0, abs=0.1)
    layer.is_open.set()
    await layer.subscriptions.settle(5)
    assert layer.members == {"a", "b"}
    layer.takes = 1.0
    assert await seconds(layer.subscriptions.join("c")) == pytest.approx(1, abs=0.1)


class Broker:
    """Proofs that end when the test lets them, and what they were to prove."""

    def __init__(self) -> None:
        self.proofs: list[list[str]] = []
        self.executes = asyncio.Event()
        self.layer = Layer()
        self.joined: list[str] = []
        self.subscriptions = Subscriptions(self.layer._add, self.layer._discard, self.joined.append, self._prove)

    async def _prove(self, groups: Collection[str]) -> None:
        self.proofs.append(list(groups))
        await self.executes.wait()


@hurried
async def test_a_join_is_through_once_it_is_proven():
    broker = Broker()
    joining = asyncio.ensure_future(broker.subscriptions.join("a"))
    asyncio.get_running_loop().call_later(1, broker.executes.set)
    await asyncio.sleep(0.9)
    assert (broker.layer.members, broker.joined) == ({"a"}, [])
    assert await seconds(joining) == pytest.approx(0.1, abs=0.01)
    assert broker.joined == ["a"]


@hurried
async def test_joins_that_come_during_a_proof_are_proven_together():
    broker = Broker()
    joins = [asyncio.ensure_future(broker.subscriptions.join("first"))]
    await asyncio.sleep(0.1)
    joins += [asyncio.ensure_future(broker.subscriptions.join(str(number))) for number in range(50)]
    await asyncio.sleep(0.1)
    broker.executes.set()
    await asyncio.gather(*joins)
    assert [len(proof) for proof in broker.proofs] == [1, 50]


@hurried
async def test_a_group_that_is_left_during_its_proof_is_not_told_as_joined():
    broker = Broker()
    joining = asyncio.ensure_future(broker.subscriptions.join("a"))
    await asyncio.sleep(0.1)
    broker.subscriptions.leave("a")
    await joining
    broker.executes.set()
    await asyncio.sleep(1)
    assert (broker.layer.members, broker.joined) == (set(), [])


@hurried
async def test_joins_share_one_wait_while_the_broker_hangs_and_leaves_do_not_end_that():
    """A pub/sub layer writes a leave, and knows nothing of the broker."""
    broker = Broker()
    assert await seconds(broker.subscriptions.join("a")) == pytest.approx(1.5, abs=0.1)
    broker.subscriptions.leave("a")
    await broker.subscriptions.settle(1)
    for group in "bcd":
        assert await seconds(broker.subscriptions.join(group)) < 0.01
    broker.executes.set()
    await asyncio.sleep(30)
    assert set(broker.joined) == set("bcd")
    broker.executes.clear()
    assert await seconds(broker.subscriptions.join("e")) == pytest.approx(1.5, abs=0.1)


@hurried
async def test_a_group_whose_proof_failed_is_left_and_joined_anew():
    """The layer may believe in vain that it has joined it."""
    broker = Broker()
    await broker.subscriptions.join("a")
    await asyncio.sleep(7)
    broker.executes.set()
    await asyncio.sleep(5)
    assert broker.layer.calls == ["add a", "discard a", "add a"]
    assert broker.joined == ["a"]


@hurried
async def test_joins_on_a_new_channel_are_proven_and_those_done_again_are_not():
    broker = Broker()
    broker.executes.set()
    await broker.subscriptions.join("a")
    broker.subscriptions.join_again()
    await asyncio.sleep(1)
    assert len(broker.proofs) == 1
    broker.subscriptions.doubt()
    broker.subscriptions.join_again()
    await asyncio.sleep(1)
    assert broker.proofs == [["a"], ["a"]]
