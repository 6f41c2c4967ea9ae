"""What becomes of something that is on its way, for the tasks and threads that wait for it."""

import asyncio
from collections.abc import Callable, Iterable

__all__ = ["Confirmation", "confirmed"]


class Confirmation:
    """That the channel layer has taken something, or that it has not.

    Who waits is told within settle(), where a future would take another turn of its loop: on the way of a thread that
    sends, each turn counts.

    Attributes:
        is_settled: whether one of both has been said.
    """

    __slots__ = ("_error", "_listeners", "is_settled")

    def __init__(self) -> None:
        self._error: Exception | None = None
        self.is_settled = False
        self._listeners: list[Callable[[Exception | None], None]] = []

    def settle(self, error: Exception | None = None) -> None:
        """Say that it was taken, or why not. What is said first holds."""
        if self.is_settled:
            return
        self.is_settled, self._error = True, error
        listeners, self._listeners = self._listeners, []
        for listener in listeners:
            listener(error and _copied(error))

    def notify(self, listener: Callable[[Exception | None], None]) -> None:
        """Call ``listener``, which must not raise, with the error, or ``None``, once it is settled."""
        if self.is_settled:
            listener(self._error and _copied(self._error))
        else:
            self._listeners.append(listener)

    async def wait(self) -> None:
        """Wait until it is settled. Who is cancelled takes nobody else's frames with it.

        Raises:
            LayerUnavailable: the layer did not take it.
        """
        if not self.is_settled:
            settled = asyncio.Event()
            self.notify(lambda error: settled.set())
            await settled.wait()
        if self._error is not None:
            raise _copied(self._error)


async def confirmed(confirmations: Iterable[Confirmation]) -> None:
    """Wait until the layer has taken all.

    Raises:
        LayerUnavailable: the layer did not confirm one in time.
    """
    for confirmation in confirmations:
        await confirmation.wait()


def _copied(error: Exception) -> Exception:
    """Return an error for one of those who wait: each that raises the same one would add to its traceback."""
    copy = type(error)(*error.args)
    copy.__cause__ = error.__cause__
    return copy
