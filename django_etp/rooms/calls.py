"""Call the hub of this process from any thread or event loop."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, TypeVar

from django_etp.concurrency.bridge import arun_on, call_on, not_confirmed, refuse_in_event_loop, run_on
from django_etp.concurrency.confirmations import Confirmation
from django_etp.conf import checked_timeout, question_timeout
from django_etp.hub.hub import Hub
from django_etp.hub.process import log_no_recipients, process_hub
from django_etp.hub.queries import HubQuery

from .background import batch_under_way
from .batch import LONGEST_WAIT, Batch

__all__ = ["Calls"]

_T = TypeVar("_T")
_Send = Callable[..., list[Confirmation]]


class Calls:
    """Sends and queries for the rooms of one namespace."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace

    async def asend(self, send: _Send, *args: Any, timeout: float | None = None) -> None:
        """Send something on the hub's event loop, and wait until the channel layer has confirmed it.

        ``timeout`` limits the wait, in seconds.
        """
        hub = process_hub()
        if hub is None:
            log_no_recipients()
        elif timeout is not None:
            limit = asyncio.timeout(checked_timeout(timeout))
            try:
                async with limit:
                    await self.asend(send, *args)
            except TimeoutError:
                if limit.expired():
                    raise not_confirmed(timeout) from None
                raise
        elif hub.loop is asyncio.get_running_loop():
            await hub.sent(send(hub, self._namespace, *args))
        else:
            await arun_on(hub.loop, _send_and_wait, send, hub, self._namespace, *args)

    def send(self, name: str, send: _Send, *args: Any, timeout: float | None = None) -> None:
        """See asend(). It overtakes no batch of this thread."""
        refuse_in_event_loop(name)
        hub = process_hub()
        if hub is None:
            log_no_recipients()
        elif (batch := batch_under_way(hub)) is None:
            seconds = None if timeout is None else checked_timeout(timeout)
            call_on(hub.loop, send, hub, self._namespace, *args, timeout=seconds)
        else:
            self._send_after(batch, send, *args, timeout=timeout)

    def _send_after(self, batch: Batch, send: _Send, *args: Any, timeout: float | None) -> None:
        """Send behind a batch of this thread, which may take all of the time."""
        hub, started_at = batch.hub, time.monotonic()
        longest = LONGEST_WAIT if timeout is None else min(checked_timeout(timeout), LONGEST_WAIT)
        is_next = batch.wait_until_begun(longest) if send is Hub.send else batch.wait_until_over(longest)
        if timeout is None:
            left = None
        elif not is_next and timeout < LONGEST_WAIT:
            raise not_confirmed(timeout)
        else:
            left = timeout - (time.monotonic() - started_at)
        if send is Hub.send:
            call_on(hub.loop, _send_behind, batch, hub, self._namespace, *args, timeout=left)
        else:
            call_on(hub.loop, send, hub, self._namespace, *args, timeout=left)

    async def aask(self, query: HubQuery[_T], timeout: float | None) -> _T:
        """Return the answer to a query, from all hubs or from one."""
        seconds = question_timeout(timeout)
        hub = process_hub()
        if hub is None:
            log_no_recipients()
            return query.merge([])
        return await arun_on(hub.loop, query.ask, hub, seconds, timeout=seconds)

    def ask(self, name: str, query: HubQuery[_T], timeout: float | None) -> _T:
        """See aask()."""
        refuse_in_event_loop(name)
        seconds = question_timeout(timeout)
        hub = process_hub()
        if hub is None:
            log_no_recipients()
            return query.merge([])
        return run_on(hub.loop, query.ask, hub, seconds, timeout=seconds)


async def _send_and_wait(send: _Send, hub: Hub, *args: Any) -> None:
    await hub.sent(send(hub, *args))


def _send_behind(
    batch: Batch, hub: Hub, namespace: str, rooms: list[str] | None, text: str, exclude: frozenset[str]
) -> list[Confirmation]:
    return hub.send(namespace, rooms, text, exclude, batch.groups)
