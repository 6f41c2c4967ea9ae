"""How connections end: the close codes and reasons of RFC 6455."""

import json
import math
from dataclasses import dataclass

from django_etp.exceptions import InvalidCloseCode

__all__ = [
    "LOGGED_OUT",
    "PASSWORD_CHANGED",
    "RESTART",
    "SESSION_ENDED",
    "TOKEN_EXPIRED",
    "USER_GONE",
    "Disconnect",
    "check_close",
    "cut_reason",
    "reconnect_in",
    "restart",
]

# Section 7.4: the codes that an endpoint may send. 1004 to 1006 and 1015 never go on the wire.
_CODES = frozenset({1000, 1001, 1002, 1003, *range(1007, 1015), *range(3000, 5000)})
# Section 5.5.1: a control frame holds 125 bytes, two of them the code.
_MAX_REASON = 123

# The registry of section 7.4.2: the server restarts.
RESTART = 1012
# The longest time that a server may ask a client to wait, in milliseconds.
_MAX_WAIT = 300_000


@dataclass(frozen=True, slots=True)
class Disconnect:
    """How a connection ended: a close code of RFC 6455 and its reason."""

    code: int
    reason: str = ""

    @property
    def is_normal(self) -> bool:
        """Whether the close code is 1000."""
        return self.code == 1000


# A login has ended. Clients do not reconnect after the first and the last, which they know by these words.
LOGGED_OUT = Disconnect(4401, "logged out")
PASSWORD_CHANGED = Disconnect(4401, "the password changed")
SESSION_ENDED = Disconnect(4401, "the session ended")
TOKEN_EXPIRED = Disconnect(4401, "the token expired")
USER_GONE = Disconnect(4401, "the user was deleted or deactivated")


def check_close(code: int, reason: str) -> None:
    """Raise ``InvalidCloseCode`` if an endpoint must not send this code, or the reason is no str or over 123 bytes."""
    if not isinstance(code, int) or code not in _CODES:
        raise InvalidCloseCode(
            "A close code must be one that an endpoint may send (1000 to 1014 without 1004 to 1006, or 3000 to 4999), "
            f"got {code!r}."
        )
    if not isinstance(reason, str) or len(reason.encode(errors="replace")) > _MAX_REASON:
        raise InvalidCloseCode(f"A close reason must be str of at most {_MAX_REASON} bytes, got {reason!r:.150}.")
    try:
        reason.encode()
    except UnicodeEncodeError:
        raise InvalidCloseCode(
            f"A close reason must be valid Unicode, got a lone surrogate in {reason!a:.150}."
        ) from None


def cut_reason(reason: str) -> str:
    """Return the beginning of a reason that fits into a close frame."""
    return reason.encode(errors="replace")[:_MAX_REASON].decode(errors="ignore")


def restart(seconds: float) -> Disconnect:
    """Return the end of a connection whose client is to connect again after so many seconds."""
    return Disconnect(RESTART, json.dumps({"reconnect_in": round(seconds * 1_000)}))


def reconnect_in(disconnect: Disconnect) -> float | None:
    """Return after how many seconds the server asks the client to connect again; ``None`` if it names no time.

    This is five minutes at most.
    """
    if disconnect.code != RESTART:
        return None
    try:
        milliseconds = json.loads(disconnect.reason)["reconnect_in"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    if not isinstance(milliseconds, int | float) or isinstance(milliseconds, bool) or not 0 <= milliseconds < math.inf:
        return None
    return min(milliseconds, _MAX_WAIT) / 1_000
