"""The content of a session: its keys, and the data of connections in it."""

import json
from collections.abc import Callable
from typing import Any

from django_etp.conf import get_settings

__all__ = ["DATA_KEY", "EXPIRY_KEY", "MADE_KEY", "has_place", "put_share", "set_shares", "shares_in"]

# Holds the data of the session's connections, by connection id.
DATA_KEY = "etp"

# Marks a session that was made for connection data, and is deleted with the last of it.
MADE_KEY = "_etp_made"

# Django keeps the argument of set_expiry() here.
EXPIRY_KEY = "_session_expiry"

# The data of a session's connections takes at most this many times MAX_DATA_SIZE: each write of one writes all.
_LARGEST_SHARES = 2


def shares_in(content: dict[str, Any]) -> dict[str, Any]:
    """Return the data of connections in a session's content, by connection id."""
    shares = content.get(DATA_KEY)
    return shares if isinstance(shares, dict) else {}


def set_shares(content: dict[str, Any], shares: dict[str, Any]) -> None:
    """Replace the data of connections in a session's content."""
    if shares:
        content[DATA_KEY] = shares
    else:
        content.pop(DATA_KEY, None)


def has_place(others: dict[str, Any], own: str) -> bool:
    """Return whether a session that stores the data of other connections has place for one more, given as JSON."""
    limit = _LARGEST_SHARES * get_settings().max_data_size
    return not others or len(json.dumps(others, default=repr)) + len(own) <= limit


def put_share(content: dict[str, Any], id: str, share: str, may_live: Callable[[str], bool]) -> bool:
    """Put the data of a connection, as JSON, into a session's content; return whether the session had place for it.

    The connection's earlier data, and that of connections which have ended, is removed.
    """
    shares = {other: data for other, data in shares_in(content).items() if other != id and may_live(other)}
    fits = has_place(shares, share)
    if fits and (data := json.loads(share)):
        shares[id] = data
    set_shares(content, shares)
    return fits
