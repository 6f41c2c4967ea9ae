"""The handlers of a room of the Python client."""

import pytest

from django_etp.client import EtpClient
from django_etp.exceptions import EtpError, EventFailed, InvalidEventName
from django_etp.protocol import Event


def test_an_event_has_one_handler_in_a_room() -> None:
    room = EtpClient("ws://127.0.0.1:1/").room("orders/5")
    room.on("say")(print)
    with pytest.raises(EtpError, match="already has a handler"):
        room.on("say")(print)
    with pytest.raises(InvalidEventName):
        room.on("__say")


async def test_an_event_without_a_handler_fails() -> None:
    room = EtpClient("ws://127.0.0.1:1/").room("orders/5")
    room.on("say")(lambda event: event.data)
    assert await room.handle(Event("say", 1, "hello")) == "hello"
    with pytest.raises(EventFailed) as caught:
        await room.handle(Event("nosuch", 1))
    assert caught.value.code == "unknown_event"
