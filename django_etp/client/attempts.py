"""When a client connects again, and when it gives up.

Rules kept here:

- A connection that ended normally (1000), after a logout (4401) or by a refusal (4403) is not made again.
- The delays start from the beginning after a connection that lasted five seconds or longer.
- The client gives up if another attempt cannot succeed, as with an invalid URL, after twenty refused handshakes in a
  row, and if no delay is left.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from websockets.asyncio.client import process_exception  # type: ignore[attr-defined]
from websockets.exceptions import InvalidURI, WebSocketException

__all__ = ["CONNECT_ERRORS", "FINAL_CODES", "Attempts", "FailedAttempt"]

# Why connecting may fail: an invalid URL, a network or server that cannot be reached, a refusal.
CONNECT_ERRORS = (OSError, WebSocketException)

# With these codes the server ended the connection on purpose: normally, after a logout, by refusing it.
FINAL_CODES = frozenset({1000, 4401, 4403})
# In seconds.
_STABLE_AFTER = 5.0
# A server that cannot reach its database refuses handshakes just as one that will never accept this client does. This
# many refusals in a row count as the latter. With the delays of websockets that takes 20 minutes.
_MAX_REFUSALS = 20


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """A failed attempt to connect again.

    Attributes:
        attempt: its number since the last connection, from 1.
        delay: how long until the next attempt, in seconds; ``None`` if the client gives up.
        error: why it failed, usually one of ``CONNECT_ERRORS``.
    """

    attempt: int
    delay: float | None
    error: Exception


class Attempts:
    """Counts the attempts to connect and decides on the next one."""

    def __init__(self, make_delays: Callable[[], Iterator[float]]) -> None:
        self._make_delays = make_delays
        self._delays = make_delays()
        self._connected_at = 0.0
        self._failures = 0  # in a row, since the last connection
        self._refusals = 0  # the most recent of those, which the server answered

    def connected(self) -> None:
        """Record that a connection was made."""
        self._connected_at = time.monotonic()
        self._failures = self._refusals = 0

    def failed(self, error: Exception) -> FailedAttempt:
        """Record that an attempt failed; return it with the delay before the next one."""
        self._failures += 1
        # websockets returns an error here, instead of None, if connecting again should not help.
        self._refusals = self._refusals + 1 if process_exception(error) is not None else 0
        can_succeed = isinstance(error, CONNECT_ERRORS) and not isinstance(error, InvalidURI)
        delay = next(self._delays, None) if can_succeed and self._refusals < _MAX_REFUSALS else None
        return FailedAttempt(self._failures, delay, error)

    def ended(self) -> float | None:
        """Record that a connection has ended; return the delay before the next attempt, ``None`` if none is left."""
        if time.monotonic() - self._connected_at >= _STABLE_AFTER:
            self._delays = self._make_delays()
        return next(self._delays, None)
