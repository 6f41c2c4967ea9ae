"""Refuse the handshakes of users who have as many connections as ``MAX_CONNECTIONS_PER_USER`` allows.

Rules kept here:

- The connections of this process count at once, in their order; those of others once they are accepted.
- If other processes do not answer within a second, those that did count.
"""

import asyncio
import logging
import math

from django_etp.conf import get_settings
from django_etp.connections.connection import Connection
from django_etp.connections.records import facts_of
from django_etp.connections.scope import identity_of
from django_etp.exceptions import IncompleteAnswer, LayerUnavailable, RejectConnection
from django_etp.hub.hub import Hub
from django_etp.hub.names import user_room
from django_etp.hub.process import serving_hub
from django_etp.rooms.queries import CountMembers

__all__ = ["check_quota"]

logger = logging.getLogger(__name__)

_LIMIT = 1.0


async def check_quota(connection: Connection) -> None:
    """Refuse a connection if its user has too many already.

    Raises:
        RejectConnection: so it is.
    """
    most = get_settings().max_connections_per_user
    if not most or connection.user_id is None:
        return
    hub, user = serving_hub(), identity_of(connection.scope, connection.user_id)
    came_at = {member.id: (member.to_row()[2], member.id) for member in hub.membership.of_user(user)}
    own = came_at.get(connection.id, (math.inf, ""))
    before = sum(other < own for other in came_at.values())
    if before < most:
        room, namespaces = user_room(user), tuple(hub.membership.namespaces)
        counts = await asyncio.gather(*(_count_elsewhere(hub, namespace, room) for namespace in namespaces))
        before += sum(counts)
    if before >= most:
        logger.info(
            "Refused a handshake: user %s has %d connections, and ETP['MAX_CONNECTIONS_PER_USER'] is %d.",
            connection.user_id,
            before,
            most,
            extra=facts_of(connection),
        )
        raise RejectConnection("Too many connections.")


async def _count_elsewhere(hub: Hub, namespace: str, room: str) -> int:
    here = len(hub.membership.members(namespace, room))
    try:
        return await CountMembers(namespace, room).ask(hub, _LIMIT) - here
    except IncompleteAnswer as error:
        return error.answer - here if isinstance(error.answer, int) else 0
    except LayerUnavailable as error:
        logger.debug("The connections of a user in other processes could not be counted: %s", error)
        return 0
