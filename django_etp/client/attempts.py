"""When a client connects again, and when it gives up.

Rules kept here:

- A connection that ended normally (1000) or by a refusal (4403) is not made again.
- The end of a login (4401), and a handshake that is refused with HTTP 403, are final, too. But if the headers, the
  cookies or the token come from functions, the client tries once more, unless a logout or the end of the user was why.
- The delays start from the beginning after a connection that lasted five seconds or longer.
- A server that restarts (1012) may name the time until the next attempt. If it does not, and restarts within a minute
  each time, the first delay is a later one each time, so that its clients come back over a longer time.
- The client gives up if another attempt cannot succeed, as with an invalid URL, after twenty other refusals in a row,
  and if no delay is left.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

from websockets.asyncio.client import process_exception  # type: ignore[attr-defined]
from websockets.exceptions import ConnectionClosed as WebSocketClosed
from websockets.exceptions import InvalidStatus, InvalidURI, WebSocketException

from django_etp.exceptions import ConnectionClosed
from django_etp.protocol.closing import LOGGED_OUT, RESTART, USER_GONE, Disconnect, reconnect_in
from django_etp.quoting import one_line

__all__ = ["CONNECT_ERRORS", "Attempts", "FailedAttempt", "no_delay_left"]

# Why connecting may fail: an invalid URL, a network or server that cannot be reached, a refusal.
CONNECT_ERRORS = (OSError, WebSocketException)

# With these the server ended the connection on purpose: normally, by refusing it, for a user who is not back soon.
_FINAL_CODES = frozenset({1000, 4403})
_FINAL_REASONS = frozenset({LOGGED_OUT.reason, USER_GONE.reason})
_LOGIN_ENDED = 4401
# In seconds.
_STABLE_AFTER = 5.0
_RESTARTS_WITHIN = 60.0
# A proxy may answer for a server that is down with any status but 403. With the delays of websockets this many
# refusals in a row take 20 minutes.
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
    """Counts the attempts to connect and decides on the next one.

    Args:
        make_delays: returns the delays before the attempts, in seconds.
        may_change: whether the next attempt may log in with something else.
    """

    def __init__(self, make_delays: Callable[[], Iterator[float]], *, may_change: bool = False) -> None:
        self._make_delays = make_delays
        self._chances = 2 if may_change else 1
        self._denials = 0  # since a connection that lasted: HTTP 403, or 4401
        self._delays = make_delays()
        self._restarts = 0  # in a row, each within a minute of the last
        self._connected_at = 0.0
        self._failures = 0  # in a row, since the last connection
        self._refusals = 0  # the most recent of those, which the server answered

    def connected(self) -> None:
        """Record that a connection was made."""
        self._connected_at = time.monotonic()
        self._failures = self._refusals = 0

    def failed(self, error: Exception, *, may_pass: bool = False) -> FailedAttempt:
        """Record that an attempt failed; return it with the delay before the next one.

        ``may_pass`` is for an error that is none of connecting, and may not come again.
        """
        self._failures += 1
        self._denials += isinstance(error, InvalidStatus) and error.response.status_code == 403
        may_pass = may_pass or isinstance(error, WebSocketClosed)
        # websockets returns an error here, instead of None, if connecting again should not help.
        self._refusals = 0 if may_pass or process_exception(error) is None else self._refusals + 1
        can_succeed = may_pass or (isinstance(error, CONNECT_ERRORS) and not isinstance(error, InvalidURI))
        has_chances = self._denials < self._chances and self._refusals < _MAX_REFUSALS
        delay = next(self._delays, None) if can_succeed and has_chances else None
        return FailedAttempt(self._failures, delay, error)

    def ended(self, disconnect: Disconnect) -> bool:
        """Record that a connection has ended; return whether the client may connect again."""
        lasted = time.monotonic() - self._connected_at
        if disconnect.code != RESTART or lasted >= _RESTARTS_WITHIN:
            self._restarts = 0
        if lasted >= _STABLE_AFTER:
            self._delays = self._make_delays()
            self._denials = 0
        if disconnect.code != _LOGIN_ENDED:
            return disconnect.code not in _FINAL_CODES
        self._denials += 1
        return self._denials < self._chances and disconnect.reason not in _FINAL_REASONS

    def delay_after(self, disconnect: Disconnect) -> float | None:
        """Return the delay before the attempt after the end of a connection, in seconds; ``None`` if none is left."""
        delay = next(self._delays, None)
        restarts = self._restarts
        self._restarts += disconnect.code == RESTART
        if delay is None:
            return None
        if (asked := reconnect_in(disconnect)) is not None:
            return asked
        return max(delay, next(islice(self._make_delays(), restarts, None), delay)) if restarts else delay


def no_delay_left(disconnect: Disconnect) -> ConnectionClosed:
    """Return the error for the end of a connection after which no delay is left."""
    return ConnectionClosed(
        f"The connection ended with {disconnect.code} ({one_line(disconnect.reason) or 'no reason'}), and "
        "reconnect_delays has no delay left before another attempt."
    )
