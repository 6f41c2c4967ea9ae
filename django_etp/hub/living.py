"""Whether connections, by their ids, may be alive."""

from collections.abc import Callable

from django_etp.cluster.links import Link

from .members import hub_of
from .membership import Membership

__all__ = ["living"]


def living(own: str, link: Link, members: Membership) -> Callable[[str], bool]:
    """Return a function that returns, for a connection's id, whether the connection may be alive as of now.

    Any thread may call the function. While the hub is new, or receives nothing, it does not know the other hubs, and
    takes all their connections for alive.

    Args:
        own: the id of the hub.
        link: its way to the others.
        members: its connections.
    """
    others, knows_others = link.others, link.knows_others

    def may_live(connection_id: str) -> bool:
        hub = hub_of(connection_id)
        return connection_id in members if hub == own else hub in others or not knows_others

    return may_live
