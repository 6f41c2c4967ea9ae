"""The facts that the live page shows of a connection, as they travel between processes."""

from dataclasses import astuple, dataclass
from typing import Any

from django.utils.functional import LazyObject

from django_etp.connections.peer import Peer
from django_etp.hub.hub import Hub
from django_etp.sessions.lazy import unwrapped

__all__ = ["ConnectionRow", "key_of", "matches"]

# A user's name may be of any length, as one in a token. Longer ones are cut.
_LONGEST = 150


@dataclass(frozen=True, slots=True)
class ConnectionRow:
    """Facts about a connection.

    Attributes:
        namespace: its namespace.
        id: its id.
        user_id: the primary key of its user, as text; ``""`` for an anonymous one.
        username: the name of its user; ``""`` without one.
        identity: the name of the user that is unique in the site; see tenancy.identity().
        address: that of the client, or of the proxy before it; ``""`` if the server does not know it.
        connected_at: when it connected, in seconds since 1970.
        rooms: how many rooms it is in.
    """

    namespace: str
    id: str
    user_id: str
    username: str
    identity: str
    address: str
    connected_at: float
    rooms: int

    @classmethod
    def of(cls, peer: Peer, hub: Hub) -> "ConnectionRow":
        """Return the row of a connection of a hub."""
        id, user_id, connected_at = peer.to_row()
        return cls(
            peer.namespace,
            id,
            "" if user_id is None else _text(user_id),
            _username(peer.scope.get("user")),
            _text(hub.membership.user_of(peer) or ""),
            _text(_address(peer)),
            connected_at,
            len(hub.membership.rooms_of(id)),
        )

    @classmethod
    def read(cls, plain: list[Any]) -> "ConnectionRow":
        """Return the row in plain values.

        Raises:
            TypeError, ValueError: they are something else.
        """
        namespace, id, user_id, username, identity, address = map(str, plain[:6])
        connected_at, rooms = plain[6:]
        return cls(namespace, id, user_id, username, identity, address, float(connected_at), int(rooms))

    def to_plain(self) -> list[Any]:
        """Return plain values, which the channel layer can carry."""
        return list(astuple(self))

    @property
    def key(self) -> tuple[float, str]:
        """Its place among others. See key_of()."""
        return -self.connected_at, self.id


def key_of(peer: Peer) -> tuple[float, str]:
    """Return the place of a connection among others: the latest one comes first."""
    id, _, connected_at = peer.to_row()
    return -connected_at, id


def matches(peer: Peer, search: str) -> bool:
    """Return whether a connection is of such a user, or has this id or address; ``search`` is a casefold()."""
    if search in _username(peer.scope.get("user")).casefold():
        return True
    id, user_id, _ = peer.to_row()
    return search in ("" if user_id is None else str(user_id).casefold(), id, _address(peer))


def _address(peer: Peer) -> str:
    return str((peer.scope.get("client") or [""])[0] or "")


def _username(user: Any) -> str:
    """Return the name of a user as the handshake loaded it, without a query: this runs on the event loop."""
    user = unwrapped(user)
    if isinstance(user, LazyObject):
        return ""
    field = getattr(user, "USERNAME_FIELD", None)
    try:
        name = getattr(user, "username", "") if field is None else vars(user).get(field, "")
    except Exception:  # a property of the project's
        return ""
    return _text(name or "")


def _text(value: object) -> str:
    """Return text that each channel layer can carry."""
    return str(value)[:_LONGEST].encode(errors="replace").decode()
