"""Whether joins have reached the broker, with a broker that takes its time to execute them."""

import asyncio
from typing import Any

import pytest

from django_etp.cluster.messages import Echo, unpack
from django_etp.cluster.probes import Probes
from tests.support.hurry import hurried, kept, seconds


class Broker:
    """A broker that executes the joins and leaves of one connection in their order, each some time after its call."""

    def __init__(self, *, takes: float, in_order: bool = True) -> None:
        self.takes = takes
        self.is_hanging = False
        self.members: set[str] = set()
        self.sends: list[str] = []
        self.probes = Probes(self.add, self._discard, self._send, in_order=in_order)

    async def add(self, group: str) -> None:
        self._later(self.members.add, group)

    async def _discard(self, group: str) -> None:
        self._later(self.members.discard, group)

    async def _send(self, group: str, message: dict[str, Any]) -> None:
        self.sends.append(group)
        if group in self.members:
            assert self.probes.take(unpack(message))

    def _later(self, change: Any, group: str) -> None:
        if not self.is_hanging:
            asyncio.get_running_loop().call_later(self.takes, change, group)


@hurried
async def test_a_proof_ends_once_the_joins_before_it_are_executed():
    broker = Broker(takes=0.2)
    for group in "ab":
        await broker.add(group)
    assert await seconds(broker.probes.prove(("a", "b"))) == pytest.approx(0.3, abs=0.11)
    assert broker.members >= {"a", "b"}
    await asyncio.sleep(1)
    assert broker.members == {"a", "b"}
    assert kept(broker.probes) == {"_id": 22}


@hurried
async def test_a_proof_of_many_joins_on_one_connection_takes_one_echo():
    broker = Broker(takes=0)
    groups = [str(number) for number in range(1000)]
    for group in groups:
        await broker.add(group)
    await asyncio.sleep(0)
    await broker.probes.prove(groups)
    assert len(broker.sends) <= 2
    assert not set(broker.sends) & set(groups)


@hurried
async def test_each_proof_takes_a_group_that_the_layer_has_not_joined_yet():
    """A join of one that it believes to be in tells the broker nothing."""
    broker = Broker(takes=0.01)
    for _ in "123":
        await broker.probes.prove(())
    assert len(set(broker.sends)) == 3


@hurried
async def test_on_several_connections_each_group_gets_an_echo():
    broker = Broker(takes=0.2, in_order=False)
    await broker.add("a")
    await asyncio.sleep(0.1)
    await broker.add("b")
    await broker.probes.prove(("a", "b"))
    assert broker.members == {"a", "b"}
    assert set(broker.sends) == {"a", "b"}
    assert broker.sends[-1] == "b"


@pytest.mark.parametrize("in_order", [True, False])
def test_a_proof_waits_while_the_broker_hangs(in_order: bool) -> None:
    @hurried
    async def prove() -> None:
        broker = Broker(takes=0, in_order=in_order)
        broker.is_hanging = True
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(8):
                await broker.probes.prove(("a",))
        assert 30 < len(broker.sends) < 50
        assert kept(broker.probes) == {"_id": 22}

    prove()


@hurried
async def test_groups_that_are_left_meanwhile_are_not_waited_for():
    broker = Broker(takes=0, in_order=False)
    await broker.add("a")
    groups = dict.fromkeys("ab")
    asyncio.get_running_loop().call_later(1, groups.pop, "b")
    assert await seconds(broker.probes.prove(groups)) == pytest.approx(1.25, abs=0.3)


@hurried
async def test_an_error_of_the_layer_is_the_callers():
    async def fail(group: str, message: dict[str, Any]) -> None:
        raise OSError("down")

    broker = Broker(takes=0)
    probes = Probes(broker.add, broker.add, fail, in_order=True)
    with pytest.raises(OSError, match="down"):
        await probes.prove(("a",))


def test_echoes_of_proofs_are_taken_out_of_room_traffic_those_of_other_processes_too() -> None:
    async def nothing(*arguments: Any) -> None: ...

    probes = Probes(nothing, nothing, nothing, in_order=True)
    assert probes.take(Echo("probe.of.another", 1))
    assert not probes.take(Echo("a" * 16, 1))
