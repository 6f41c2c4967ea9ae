"""Counting for one connection: what is written is the same, and nothing is left behind."""

import asyncio
import functools
from typing import Any

import pytest

from django_etp.connections.meters import Meter
from django_etp.connections.transport import unsent_bytes
from tests.support.inprocess import until
from tests.support.live import Wire, connect, make_hub


@pytest.fixture(autouse=True)
def _no_layer(settings: Any) -> None:
    settings.CHANNEL_LAYERS = {}


@pytest.mark.parametrize("offers_calls", [False, True])
async def test_it_counts_the_frames_that_the_server_takes(offers_calls: bool) -> None:
    wire = Wire()
    peer = connect(make_hub(), wire=wire, offers_calls=offers_calls)
    peer.deliver("before")
    await until(lambda: wire.sent == ["before"])
    meter = Meter(peer)
    peer.deliver("one")
    peer.deliver("two")
    await until(lambda: len(wire.sent) == 3)
    wire.is_behind = True  # what is not taken by a call is written by a message, and counts once
    peer.deliver("three")
    await peer.emit("four")
    await until(lambda: len(wire.sent) == 5)
    assert (wire.sent, meter.frames) == (["before", "one", "two", "three", "four"], 4)
    meter.remove()
    peer.deliver("after")
    await until(lambda: len(wire.sent) == 6)
    assert meter.frames == 4


async def test_a_close_is_no_frame() -> None:
    wire = Wire()
    peer = connect(make_hub(), wire=wire)
    meter = Meter(peer)
    await peer.aclose()
    await until(lambda: wire.sent)
    assert (wire.sent, meter.frames) == (["websocket.close"], 0)


async def test_a_write_under_way_goes_on_when_the_meter_comes_and_goes() -> None:
    wire, gate, writes = Wire(), asyncio.Event(), []

    class Slow(Wire):
        async def send(self, message: dict[str, Any]) -> None:
            writes.append(message)
            await gate.wait()
            await wire.send(message)

    peer = connect(make_hub(), wire=Slow())
    peer.deliver("one")
    await until(lambda: writes)
    meter = Meter(peer)
    peer.deliver("two")
    meter.remove()
    gate.set()
    await until(lambda: len(wire.sent) == 2)
    assert wire.sent == ["one", "two"]


async def test_the_transport_of_the_server_is_still_found() -> None:
    wire = Wire()

    @functools.wraps(wire.send)
    async def wrapped(message: dict[str, Any]) -> None:
        await wire.send(message)

    for send in (wire.send, wrapped):
        peer = connect(make_hub())
        peer.outbox._send = send
        Meter(peer)
        assert peer.outbox._send is not send
        assert unsent_bytes(peer.outbox._send) == 7
