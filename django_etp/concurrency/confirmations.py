"""Confirmations that the channel layer has taken a message, for the tasks and threads that wait for it."""

import asyncio
from collections.abc import Callable, Collection, Iterable

__all__ = ["Confirmation", "confirmed", "settle_after"]


class Confirmation:
    """The outcome of one message: the channel layer has taken it, or an error.

    settle() calls the listeners at once. A future would take another turn of its loop, and each turn adds to the time
    that a sending thread waits.

    Attributes:
        is_settled: whether the outcome is known.
    """

    __slots__ = ("_error", "_listeners", "is_settled")

    def __init__(self) -> None:
        self._error: Exception | None = None
        self.is_settled = False
        self._listeners: list[Callable[[Exception | None], None]] = []

    def settle(self, error: Exception | None = None) -> None:
        """Set the outcome: the message was taken, or ``error`` is the reason why not. Later calls do nothing."""
        if self.is_settled:
            return
        self.is_settled, self._error = True, error
        listeners, self._listeners = self._listeners, []
        for listener in listeners:
            listener(error and _copied(error))

    def notify(self, listener: Callable[[Exception | None], None]) -> None:
        """Call ``listener``, which must not raise, with the error or ``None``, once the outcome is known."""
        if self.is_settled:
            listener(self._error and _copied(self._error))
        else:
            self._listeners.append(listener)

    async def wait(self) -> None:
        """Wait for the outcome. Cancelling one waiter does not affect the message, nor other waiters.

        Raises:
            LayerUnavailable: the layer did not take the message.
        """
        if not self.is_settled:
            settled = asyncio.Event()
            self.notify(lambda error: settled.set())
            await settled.wait()
        if self._error is not None:
            raise _copied(self._error)


async def confirmed(confirmations: Iterable[Confirmation]) -> None:
    """Wait until the layer has taken all messages.

    Raises:
        LayerUnavailable: the layer did not confirm one in time.
    """
    for confirmation in confirmations:
        await confirmation.wait()


def settle_after(confirmation: Confirmation, others: Collection[Confirmation]) -> None:
    """Settle a confirmation once all others are; their errors do not count."""
    left = len(others)

    def count(error: Exception | None) -> None:
        nonlocal left
        left -= 1
        if left <= 0:
            confirmation.settle()

    for each in others:
        each.notify(count)
    if not others:
        confirmation.settle()


def _copied(error: Exception) -> Exception:
    """Return a copy of an error for one waiter: each raise of a shared one would add to its traceback."""
    copy = type(error)(*error.args)
    copy.__cause__ = error.__cause__
    return copy
