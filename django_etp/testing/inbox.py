"""The received frames of a test's client that no question of its own waits for, the greeting, and the close."""

import asyncio
from contextlib import suppress

from django_etp.protocol.closing import Disconnect
from django_etp.protocol.frames import HELLO, Event, decode
from django_etp.protocol.rooms import without_position

__all__ = ["TIMEOUT", "Inbox"]

TIMEOUT = 3.0  # seconds
# An application that selects the extensions greets at once. One that has not after so many seconds is not waited for.
_GREETING_LIMIT = 1.0


class Inbox:
    """The received frames of a test's client, in order.

    The greeting is before them for ``receive_frame()`` and ``expect_event("__hello")``, and skipped by the others.
    """

    def __init__(self) -> None:
        self._id: str | None = None
        self._frames: asyncio.Queue[str | Disconnect] = asyncio.Queue()
        self._disconnect: Disconnect | None = None
        self._greeting: str | None = None  # until a test has taken or skipped it
        self._has_received = asyncio.Event()

    @property
    def id(self) -> str | None:
        """The id of the connection, from the greeting; ``None`` for a client without extensions."""
        return self._id

    async def receive_frame(self, *, timeout: float = TIMEOUT) -> str:
        """Return the next frame unchanged. Answers to ``emit_with_ack()`` are not among the frames.

        Raises:
            AssertionError: none came within ``timeout`` seconds, or the connection was closed instead.
        """
        if self._greeting is not None:
            greeting, self._greeting = self._greeting, None
            return greeting
        frame = await self._next(timeout, "a frame")
        if isinstance(frame, Disconnect):
            raise AssertionError(f"Expected a frame, but the connection was closed: {frame}.")
        return frame

    async def expect_event(
        self, name: str | None = None, *, skip_others: bool = False, timeout: float = TIMEOUT
    ) -> Event:
        """Return the next event, and check its name if one is given.

        With ``skip_others``, return the next event of that name, and drop those before it. Positions of events in rooms
        with history do not count. The greeting is no event unless its name, ``"__hello"``, is expected.

        Raises:
            AssertionError: another event came, the connection was closed, or nothing came within ``timeout`` seconds.
            TypeError: ``skip_others`` without a name.
        """
        if name != HELLO:
            self._greeting = None
        if not skip_others:
            event = decode(await self.receive_frame(timeout=timeout))
            if name not in (None, event.name):
                raise AssertionError(f"Expected the event {name!r}, got {event}.")
            return event
        if name is None:
            raise TypeError("skip_others= needs the name of the event that is expected.")
        if self._greeting is not None:
            return decode(await self.receive_frame())
        skipped: list[str] = []
        try:
            async with asyncio.timeout(timeout):
                while isinstance(frame := await self._get(), str):
                    event = decode(frame)
                    if name in (event.name, without_position(event.name)):
                        return event
                    skipped.append(event.name)
        except TimeoutError:
            raise AssertionError(
                f"Expected the event {name!r} within {timeout:g} s, got {skipped or 'nothing'}."
            ) from None
        raise AssertionError(f"Expected the event {name!r}, got {skipped}, and the connection was closed: {frame}.")

    async def expect_nothing(self, *, timeout: float = 0.1) -> None:
        """Check that nothing arrives within ``timeout`` seconds.

        Raises:
            AssertionError: a frame arrived, or the connection was closed.
        """
        try:
            async with asyncio.timeout(timeout):
                frame = await self._frames.get()
        except TimeoutError:
            return
        raise AssertionError(f"Expected nothing, got {frame!r:.300}.")

    async def expect_close(self, code: int | None = None, *, timeout: float = TIMEOUT) -> Disconnect:
        """Return how the application closes the connection; skip the frames before the close.

        Raises:
            AssertionError: it was not closed within ``timeout`` seconds, or with another code than ``code``.
        """
        while not isinstance(frame := await self._next(timeout, "a close"), Disconnect):
            pass
        if code is not None and frame.code != code:
            raise AssertionError(f"Expected close code {code}, got {frame}.")
        return frame

    def _put(self, frame: str | Disconnect) -> None:
        self._frames.put_nowait(frame)
        self._has_received.set()

    def _take_greeting(self, frame: str) -> None:
        self._greeting = frame
        self._id = decode(frame).json()["id"]
        self._has_received.set()

    async def _wait_for_greeting(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_GREETING_LIMIT):
                await self._has_received.wait()

    async def _next(self, timeout: float, expected: str) -> str | Disconnect:
        try:
            async with asyncio.timeout(timeout):
                return await self._get()
        except TimeoutError:
            raise AssertionError(f"Expected {expected} within {timeout:g} s, got nothing.") from None

    async def _get(self) -> str | Disconnect:
        if self._disconnect is not None and self._frames.empty():
            return self._disconnect
        return await self._frames.get()
