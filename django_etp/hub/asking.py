"""Ask this hub and, through its link, the hubs of other processes, and gather their replies.

Rules kept here:

- The time limit holds for this hub's own reply, too; work that it has begun by then goes on.
- A query that some hubs do not reply to raises ``IncompleteAnswer`` with the replies of the others.
"""

import asyncio
from collections.abc import Callable
from typing import Any, cast

from django_etp.cluster.links import Link
from django_etp.exceptions import IncompleteAnswer

__all__ = ["Asker"]


class Asker:
    """The queries that one hub asks.

    Args:
        hub_id: the hub's own id.
        link: the hub's way to the others.
        reply_here: begins the reply of this hub to a query, and returns the task.
    """

    def __init__(self, hub_id: str, link: Link, reply_here: Callable[[str, list[Any]], asyncio.Task[Any]]) -> None:
        self._hub_id = hub_id
        self._link = link
        self._reply_here = reply_here
        self._under_way = 0
        self._ended = asyncio.Event()

    @property
    def others(self) -> frozenset[str]:
        """The ids of the other hubs that a query to all is for."""
        return self._link.others

    def unheard_of(self, hubs: frozenset[str]) -> frozenset[str]:
        """Return those of these hubs that a query to all may miss, since this hub has not heard of them yet."""
        return self._link.unheard_of(hubs - {self._hub_id})

    async def ask(self, hub: str | None, action: str, arguments: list[Any], timeout: float) -> list[Any]:
        """Return the replies of all hubs, or of one, to a query; this hub's own reply comes first.

        Raises:
            IncompleteAnswer: some did not reply within ``timeout`` seconds; ``answer`` holds the replies of the others.
            LayerUnavailable: the query could not be sent to the others.
        """
        self._under_way += 1
        try:
            return await self._gather(hub, action, arguments, timeout)
        finally:
            self._under_way -= 1
            self._ended.set()

    async def wait_until_idle(self) -> None:
        """Wait until no query is under way."""
        while self._under_way:
            self._ended.clear()
            await self._ended.wait()

    async def _gather(self, hub: str | None, action: str, arguments: list[Any], timeout: float) -> list[Any]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        own = None
        if hub in (None, self._hub_id):
            own = self._reply_here(action, arguments)
            own.add_done_callback(_retrieve_exception)
        problems = []
        try:
            others = {} if hub == self._hub_id else await self._link.ask(hub, action, arguments, timeout)
        except IncompleteAnswer as error:
            others = cast(dict[str, Any], error.answer)
            problems.append(str(error))
        replies = list(others.values())
        if own is not None:
            await asyncio.wait([own], timeout=max(0.0, deadline - loop.time()))
            if own.done():
                replies.insert(0, own.result())
            else:
                problems.append(f"This process did not reply to {action!r} within {timeout:g} s.")
        if problems:
            raise IncompleteAnswer(" ".join(problems), answer=replies)
        return replies


def _retrieve_exception(task: asyncio.Task[Any]) -> None:
    # The caller may have gone by now. asyncio would log the exception as never retrieved.
    if not task.cancelled():
        task.exception()
