"""The questions of one connection that wait for an answer: numbers ↔ futures.

Each side numbers its own questions from 1 up, per connection. An answer is matched by its number alone, and dropped if
no question of that number is pending. Server and client share this module; it knows neither Django nor Channels.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

from django_etp.exceptions import AckTimeout, ConnectionClosed

from .failures import read_failure
from .frames import FAILURE_PREFIX, Event

__all__ = ["PendingAcks"]


class PendingAcks:
    """The questions of one connection that have no answer yet."""

    __slots__ = ("_closed", "_futures", "_last_id")

    def __init__(self) -> None:
        self._futures: dict[int, asyncio.Future[Event]] = {}
        self._last_id = 0
        self._closed = False

    def __len__(self) -> int:
        return len(self._futures)

    @property
    def is_closed(self) -> bool:
        """Whether the connection has ended."""
        return self._closed

    def open(self) -> tuple[int, asyncio.Future[Event]]:
        """Return the number of a new question and the future of its answer; ``wait`` for it, or ``discard`` it.

        Raises:
            ConnectionClosed: the connection has ended.
        """
        if self._closed:
            raise ConnectionClosed("The connection is closed: no answer can come.")
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
        """Return the answer to question ``ack_id``; sending it and waiting may take ``timeout`` seconds together.

        Raises:
            AckTimeout: no answer came in time. A later one is dropped.
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
        # The caller may be between open() and wait(). Without this asyncio would log the exception as never retrieved.
        future.exception()
        return True

    def close(self) -> None:
        """Let all questions fail with ``ConnectionClosed``, those of later callers too."""
        self._closed = True
        for ack_id in tuple(self._futures):
            self.fail(ack_id, ConnectionClosed("The connection closed before the answer came."))
