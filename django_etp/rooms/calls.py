"""Pass the calls of the rooms API to the hub of this process, from any thread or event loop."""

import asyncio
import logging
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

from django_etp.concurrency.bridge import arun_on, call_on, refuse_in_event_loop, run_on
from django_etp.concurrency.confirmations import Confirmation
from django_etp.conf import question_timeout
from django_etp.hub.hub import Hub
from django_etp.hub.process import process_hub
from django_etp.hub.queries import HubQuery

__all__ = ["Send", "aask", "asend", "ask_from_thread", "send_from_thread"]

logger = logging.getLogger(__name__)

_T = TypeVar("_T")
# A method of Hub that sends.
Send = Callable[..., list[Confirmation]]


async def asend(send: Send, *args: Any) -> None:
    """Send through the hub, and wait until the channel layer has confirmed."""
    hub = process_hub()
    if hub is None:
        _log_no_recipients()
    elif hub.loop is asyncio.get_running_loop():
        await hub.sent(send(hub, *args))
    else:
        await arun_on(hub.loop, _send_and_wait, send, hub, *args)


def send_from_thread(name: str, send: Send, *args: Any) -> None:
    """See asend(). ``name`` is that of the call, for the error on a thread that runs an event loop."""
    refuse_in_event_loop(name)
    hub = process_hub()
    if hub is None:
        _log_no_recipients()
    else:
        call_on(hub.loop, send, hub, *args)


async def aask(query: HubQuery[_T], timeout: float | None) -> _T:
    """Ask the hubs, for ``timeout`` seconds, by default those of the setting ``QUESTION_TIMEOUT``."""
    seconds = question_timeout(timeout)
    hub = process_hub()
    if hub is None:
        _log_no_recipients()
        return query.merge([])
    return await arun_on(hub.loop, query.ask, hub, seconds, timeout=seconds)


def ask_from_thread(name: str, query: HubQuery[_T], timeout: float | None) -> _T:
    """See aask(), and send_from_thread() for ``name``."""
    refuse_in_event_loop(name)
    seconds = question_timeout(timeout)
    hub = process_hub()
    if hub is None:
        _log_no_recipients()
        return query.merge([])
    return run_on(hub.loop, query.ask, hub, seconds, timeout=seconds)


async def _send_and_wait(send: Send, hub: Hub, *args: Any) -> None:
    await hub.sent(send(hub, *args))


@cache
def _log_no_recipients() -> None:
    """Warn that a call reached no connection, once per process."""
    logger.warning(
        "No recipients: this process serves no connections, and its channel layer is in memory or missing, so other "
        "processes receive nothing. Use a layer that spans processes, such as channels-redis."
    )
