"""The server's side of the testing kit's client, with the extension django_etp.direct."""

import asyncio
from typing import Any

from django_etp.testing import EtpCommunicator
from django_etp.uvicorn.incoming import Incoming, Message, Take

__all__ = ["CallingServer", "offer_calls"]


class CallingServer:
    """Takes the place of a communicator's queue of messages, and passes them on by calls."""

    def __init__(self, communicator: EtpCommunicator) -> None:
        self._incoming = Incoming(max_messages=1_000_000)
        self._send = communicator._receive_from_application
        queue = communicator._to_application
        while not queue.empty():
            self._keep(queue.get_nowait())
        communicator._to_application = self  # type: ignore[assignment]
        communicator.scope["extensions"] = {"django_etp.direct": {}, **(communicator.scope.get("extensions") or {})}

    async def put(self, message: Message) -> None:
        self._keep(message)

    def _keep(self, message: Message) -> None:
        match message["type"]:
            case "websocket.connect":
                self._incoming.messages.append(message)
            case "websocket.disconnect":
                self._incoming.end(message)
            case _:
                self._incoming.put(message["text"] if "text" in message else message["bytes"])

    async def get(self) -> Message:
        raise AssertionError("The application is given receive() of this server.")

    async def receive(self) -> Message:
        return await self._incoming.receive(lambda: None)

    async def send(self, message: Message) -> None:
        await self._send(message)

    def receive_by(self, take: Take) -> "asyncio.Future[Message | None]":
        return self._incoming.pass_to(take, lambda: None)

    def offer(self, text: str) -> bool:
        try:
            self._send({"type": "websocket.send", "text": text}).send(None)
        except StopIteration:  # the communicator never waits
            return True
        raise AssertionError("The communicator waits before it takes a frame.")


def offer_calls(monkeypatch: Any) -> None:
    """Let communicators run their applications by calls, until the end of the test."""
    run = EtpCommunicator._run

    async def run_by_calls(communicator: EtpCommunicator) -> None:
        application = communicator._application
        server = CallingServer(communicator)
        communicator._application = lambda scope, receive, send: application(scope, server.receive, server.send)
        await run(communicator)

    monkeypatch.setattr(EtpCommunicator, "_run", run_by_calls)
