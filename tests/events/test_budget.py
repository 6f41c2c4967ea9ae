"""The bytes that the events of one connection hold. Beyond the limit: `server/test_lifecycle.py`."""

import asyncio
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from django_etp.events import budget
from django_etp.events.budget import SMALL, held_by, make_room
from django_etp.exceptions import InvalidFrame, MessageTooLarge, TooManyEvents
from django_etp.protocol.frames import Event
from tests.support.inprocess import until


class Socket:
    """A transport with the methods of Twisted's, behind a ``send`` as daphne's."""

    def __init__(self) -> None:
        self.is_read = True
        self.send = partial(self._send, SimpleNamespace(transport=self))

    async def _send(self, protocol: Any, message: dict[str, Any]) -> None:
        pass

    def pauseProducing(self) -> None:
        self.is_read = False

    def resumeProducing(self) -> None:
        self.is_read = True


@pytest.fixture
def peer() -> Any:
    return SimpleNamespace(disconnect=None, is_asking=False)


@pytest.mark.parametrize("text", ["x" * 10_000, "é" * 10_000, "😀" * 2_500])
def test_an_event_holds_the_bytes_of_its_name_and_data(text: str) -> None:
    assert 10_000 <= held_by(Event("name", 1, text)) <= 10_300
    assert 10_000 <= held_by(Event(text)) <= 10_300


@pytest.mark.parametrize("character", ["x", "é", "€", "😀"])
def test_no_message_up_to_the_length_of_small_ones_is_counted(character: str) -> None:
    assert held_by(Event(character * 128, 1, character * 123)) == 0
    assert held_by(InvalidFrame("no frame", frame=character * SMALL)) == 0


@pytest.mark.parametrize("frame", ["x" * 10_000, b"x" * 10_000])
def test_a_malformed_frame_holds_its_bytes(frame: str | bytes) -> None:
    assert 10_000 <= held_by(InvalidFrame("no frame", frame=frame)) <= 10_300


@pytest.mark.parametrize("error", [InvalidFrame("no frame"), MessageTooLarge("too large")])
def test_an_error_without_a_frame_is_not_counted(error: Any) -> None:
    assert held_by(error) == 0


async def test_the_socket_is_not_read_until_few_bytes_are_held(peer: Any) -> None:
    holder, socket = SimpleNamespace(held=budget.MAX_HELD + 1), Socket()
    waiting = asyncio.create_task(make_room(holder, peer, socket.send))
    await until(lambda: not socket.is_read)
    holder.held = budget.MAX_HELD
    async with asyncio.timeout(5):
        await waiting
    assert socket.is_read


async def test_the_socket_is_read_again_if_no_event_ends(peer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "_PAUSE_LIMIT", 0.05)
    socket = Socket()
    with pytest.raises(TooManyEvents, match="hold 16,777,217 bytes"):
        await make_room(SimpleNamespace(held=budget.MAX_HELD + 1), peer, socket.send)
    assert socket.is_read


async def test_twice_as_much_may_be_held_while_a_handler_waits_for_the_client(peer: Any) -> None:
    peer.is_asking = True
    async with asyncio.timeout(5):
        await make_room(SimpleNamespace(held=2 * budget.MAX_HELD), peer, Socket().send)


async def test_nothing_waits_for_a_connection_that_has_ended(peer: Any) -> None:
    peer.disconnect = object()
    async with asyncio.timeout(5):
        await make_room(SimpleNamespace(held=10 * budget.MAX_HELD), peer, Socket().send)
