"""What goes out to a client. test_protocol.py has the waits of senders."""

import asyncio

from django_etp.uvicorn.outgoing import Outgoing
from tests.support.frames import frames_of
from tests.support.transports import MemoryTransport


async def test_frames_go_out_in_order_and_together() -> None:
    transport = MemoryTransport()
    outgoing = Outgoing(transport)
    outgoing.send({"text": "äöü"})
    outgoing.write(b"\x89\x00")
    outgoing.send({"bytes": b"123", "text": "bytes come first"})
    outgoing.send({"bytes": None, "text": None})
    outgoing.flush()
    await asyncio.sleep(0)
    assert len(transport.writes) == 1
    assert frames_of(transport.writes[0]) == [(0x81, "äöü".encode()), (0x89, b""), (0x82, b"123")]


async def test_what_is_dropped_is_not_written() -> None:
    transport = MemoryTransport()
    outgoing = Outgoing(transport)
    outgoing.pause()
    waiting = asyncio.create_task(outgoing.until_drained())
    await asyncio.sleep(0)
    outgoing.send({"text": "x"})
    assert outgoing.unsent_bytes == 3
    outgoing.drop()
    await waiting
    assert outgoing.unsent_bytes == 0
    assert transport.writes == []


async def test_a_second_pause_wakes_nobody() -> None:
    outgoing = Outgoing(MemoryTransport())
    outgoing.pause()
    waiting = asyncio.create_task(outgoing.until_drained())
    await asyncio.sleep(0)
    outgoing.pause()
    outgoing.resume()
    await waiting
    outgoing.resume()
