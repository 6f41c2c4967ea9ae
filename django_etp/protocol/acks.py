"""Which questions of one connection wait for an answer: numbers ↔ futures.

Each side numbers its own questions from 1 up, per connection; an answer is matched by its number alone, and one that
nobody waits for is dropped. Server and client share this module; it knows neither Django nor Channels.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

from django_etp.exceptions import AckTimeout, ConnectionClosed

from .failures import read_failure
from .frames import FAILURE_PREFIX, Event

__all__ = ["PendingAcks"]


class PendingAcks:
    """The questions that one connection has asked and not yet had answered."""

    __slots__ = ("_closed", "_futures", "_last_id")

    def __init__(self) -> None:
        self._futures: dict[int, asyncio.Future[Event]] = {}
        self._last_id = 0
        self._closed = False

    def __len__(self) -> int:
        return len(self._futures)

    def open(self) -> tuple[int, asyncio.Future[Event]]:
        """Return the number of a new question and the future of its answer; ``wait`` for it, or ``discard`` it.

        Raises:
            ConnectionClosed: the connection has ended.
        """
        if self._closed:
            raise ConnectionClosed("The connection is closed: nobody is there to answer.")
        self._last_id += 1
        future = self._futures[self._last_id] = asyncio.get_running_loop().create_future()
        return self._last_id, future

    async def wait(
        self,
        ack_id: int,
        future: asyncio.Future[Event],
        timeout: float,
        sending: Coroutine[Any, Any, None] | None = None,
    ) -> Event:
        """Return the answer to question ``ack_id``, waiting up to ``timeout`` seconds, the sending included.

        Raises:
            AckTimeout: no answer came in time. One that comes later is dropped.
            ConnectionClosed: the connection ended first.
        """
        deadline = asyncio.timeout(timeout)
        try:
            async with deadline:
                if sending is not None:
                    await sending
                return await future
        except TimeoutError:
            if not deadline.expired():
                raise
            raise AckTimeout(
                f"No answer to question {ack_id} within {timeout:g} s: the peer is slow, or does not answer this event."
            ) from None
        finally:
            self.discard(ack_id)

    def discard(self, ack_id: int) -> None:
        """Forget a question, answered or not."""
        if future := self._futures.pop(ack_id, None):
            future.cancel()

    def settle(self, answer: Event) -> bool:
        """Pass an answer, or the failure in place of one, to its question; return whether one was waiting."""
        if answer.name.startswith(FAILURE_PREFIX):
            return self.fail(answer.ack_id, read_failure(answer))
        future = self._futures.pop(answer.ack_id, None)
        if future is None or future.done():
            return False
        future.set_result(answer)
        return True

    def fail(self, ack_id: int, error: BaseException) -> bool:
        """Raise an error from the question of this number; return whether it was waiting."""
        future = self._futures.pop(ack_id, None)
        if future is None or future.done():
            return False
        future.set_exception(error)
        # Retrieve it, as no caller may be waiting yet, between open() and wait(): asyncio would log it as lost.
        future.exception()
        return True

    def close(self) -> None:
        """Let all that wait fail with ``ConnectionClosed``, and all that ask from now on."""
        self._closed = True
        futures, self._futures = self._futures, {}
        for future in futures.values():
            if not future.done():
                future.set_exception(ConnectionClosed("The connection closed before the answer came."))
                # Nobody may be waiting yet, between open() and wait().
                future.exception()
