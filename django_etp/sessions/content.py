"""The content of a session: its keys, and the data of connections in it."""

from typing import Any

__all__ = ["DATA_KEY", "EXPIRY_KEY", "MADE_KEY", "set_shares", "shares_in"]

# Holds the data of the session's connections, by connection id.
DATA_KEY = "etp"

# Marks a session that was made for connection data, and is deleted with the last of it.
MADE_KEY = "_etp_made"

# Django keeps the argument of set_expiry() here.
EXPIRY_KEY = "_session_expiry"


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
