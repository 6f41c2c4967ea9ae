"""Pings to one client, and the end of a client that does not answer them."""

import asyncio
import os
from collections.abc import Callable

from .frames import FIN, PING, encode

__all__ = ["Keepalive"]


class Keepalive:
    """Sends a ping each ``interval`` seconds, as uvicorn does.

    Args:
        write: writes the frame of a ping.
        lose: is called if no pong with the payload of the last ping comes within ``timeout`` seconds.
        interval, timeout: in seconds. Without an interval there are no pings, and without a timeout none is missed.
    """

    __slots__ = ("_interval", "_lose", "_payload", "_pinged", "_round_trip", "_timeout", "_timer", "_write")

    def __init__(
        self, write: Callable[[bytes], None], lose: Callable[[], None], interval: float | None, timeout: float | None
    ) -> None:
        self._write = write
        self._lose = lose
        self._interval = interval or 0
        self._timeout = timeout
        self._payload = b""
        self._pinged = self._round_trip = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Send the first ping after the interval."""
        if self._interval > 0:
            delay = max(0.0, self._interval - self._round_trip)
            self._timer = asyncio.get_running_loop().call_later(delay, self._send)

    def stop(self) -> None:
        """Send no more pings."""
        self._payload = b""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def pong(self, payload: bytes) -> None:
        """Take a pong of the client; one that answers another ping than the last means nothing."""
        if self._payload and payload == self._payload:
            self._payload = b""
            self._round_trip = asyncio.get_running_loop().time() - self._pinged
            if self._timeout is not None:
                self.stop()
                self.start()

    def _send(self) -> None:
        loop = asyncio.get_running_loop()
        self._payload, self._pinged = os.urandom(4), loop.time()
        if self._timeout is None:
            self.start()
        else:
            self._timer = loop.call_later(self._timeout, self._lose)
        self._write(encode(FIN | PING, self._payload))
