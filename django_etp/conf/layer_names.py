"""Names of the groups and channels that a site uses in its channel layer.

Rules kept here:

- Every name begins with ``etp``, followed by ``ETP["SITE"]`` if that is set. So two sites on one broker share no name.
- Without ``SITE`` the names are those of the versions that had no such setting.
"""

from .settings import get_settings

__all__ = ["ask_group", "channel_prefix", "control_group", "hub_group", "room_group"]


def channel_prefix() -> str:
    """Return the beginning of all names of channels and groups."""
    site = get_settings().site
    return f"etp.{site}" if site else "etp"


def control_group() -> str:
    """Return the group of all nodes."""
    return f"{channel_prefix()}.control"


def ask_group(hub: str) -> str:
    """Return the group of queries and replies to a hub; for ``""``, the beginning of all their names."""
    return f"{channel_prefix()}.ask.{hub}"


def hub_group(hub: str) -> str:
    """Return the group of frames for the connections of a hub; for ``""``, the beginning of all their names."""
    return f"{channel_prefix()}.hub.{hub}"


def room_group(digest: str) -> str:
    """Return the group of a room, or of the connections of a namespace."""
    return f"{channel_prefix()}.room.{digest}"
