"""Replies to the queries of other nodes."""

import logging
from collections.abc import Callable, Coroutine
from typing import Any

from django_etp.exceptions import EtpError
from django_etp.quoting import quote_traceback

from .directory import Directory
from .host import Host
from .messages import Malformed, Query, Receipt, Reply, pack
from .reader import complain
from .transport import Transport

__all__ = ["Responder"]

logger = logging.getLogger(__name__)
logger.addFilter(quote_traceback)


class Responder:
    """Replies for one hub.

    Args:
        host: the hub.
        transport: the channel layer.
        directory: the other nodes, which each reply names.
        run: starts a task.
    """

    def __init__(
        self,
        host: Host,
        transport: Transport,
        directory: Directory,
        run: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self._host = host
        self._transport = transport
        self._directory = directory
        self._run = run

    async def reply(self, query: Query) -> None:
        """Send the hub's reply to a query, and a receipt at once if the query wants one."""
        known = sorted(self._directory.serving | {self._host.id})
        if query.wants_sign:
            self._run(self._transport.send_control(query.answer_to, pack(Receipt(query.id, self._host.id, known))))
        try:
            result = await self._host.answer(query.action, query.arguments)
            reply = Reply(query.id, self._host.id, known, result)
        except (Malformed, EtpError) as error:
            complain(error)
            reply = Reply(query.id, self._host.id, known, error=str(error))
        except Exception as error:
            logger.exception("A query of another process failed: %.80r", query.action)
            reply = Reply(query.id, self._host.id, known, error=f"{type(error).__name__}: {error}")
        await self._transport.send_control(query.answer_to, pack(reply))
