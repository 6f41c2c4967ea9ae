"""Django signals of the package, for metrics, audits and reactions of your own.

Connect receivers in the ``ready()`` of an app. A plain function is called on the event loop that serves the
connections: it must be quick, and must not use the ORM. An ``async def`` runs in a task of its own. An exception of a
receiver is logged. A signal without receivers costs nothing.

``sender`` is always ``None``. Each signal has a line on its other arguments.

The ``name`` of a handled event is ``None`` if no handler is registered for it, since clients choose such names. Its
``outcome`` is ``"ok"``, the code of the failure, such as ``"handler_error"``, or ``"cancelled"``.
"""

import asyncio
import inspect
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from django.dispatch import Signal

from .concurrency.tasks import leave_alone

__all__ = [
    "connected",
    "disconnected",
    "event_handled",
    "messages_lost",
    "room_sent",
    "slow_client_closed",
    "user_offline",
    "user_online",
]

logger = logging.getLogger(__name__)

# The handshake was accepted, and `on_connect` has ended. Arguments: `connection`.
connected = Signal()
# Such a connection has ended. Arguments: `connection`, `disconnect`, which has the close code.
disconnected = Signal()
# A handler has ended, and its answer was sent. Arguments: `connection`, `event`, `name`, `seconds` and
# `outcome`.
event_handled = Signal()
# This process has sent an event to rooms, or to the whole namespace. Arguments: `namespace`, `rooms`, which is
# `None` for all, and `event`, the event's name.
room_sent = Signal()
# The channel layer has lost messages. Arguments: `error`, a `MessagesLost`.
messages_lost = Signal()
# A connection is closed because its client reads too slowly. Arguments: `connection`.
slow_client_closed = Signal()
# The first connection of a user was accepted, in any process; one process sends it, about a second later. And the last
# one has ended, in all processes, and the user did not return within `PRESENCE_GRACE`. Arguments: `user_id`, the
# primary key of the user, or the user's name in the site if tenants have users of their own. Here `sender` is the user
# model, and plain functions run in a thread and may use the ORM.
user_online = Signal()
user_offline = Signal()


def notify(signal: Signal, **arguments: Any) -> None:
    """Send a signal on the running event loop; never waits and never raises.

    Check ``signal.receivers`` first if the arguments cost anything.
    """
    if not signal.receivers:
        return
    # send_robust() would refuse asynchronous receivers on an event loop, and asend_robust() run plain ones in a thread.
    plain, asynchronous = signal._live_receivers(None)
    for receiver in plain:
        try:
            receiver(signal=signal, sender=None, **arguments)
        except Exception:
            _log(receiver)
    for receiver in asynchronous:
        call = _run(receiver, signal=signal, sender=None, **arguments)
        leave_alone(asyncio.get_running_loop().create_task(call))


async def _run(receiver: Callable[..., Coroutine[Any, Any, object]], **arguments: Any) -> None:
    try:
        await receiver(**arguments)
    except Exception:
        _log(receiver)


def _log(receiver: Callable[..., object]) -> None:
    function = inspect.unwrap(receiver)
    logger.exception(
        "The receiver %s.%s of a signal failed.",
        getattr(function, "__module__", "?"),
        getattr(function, "__qualname__", repr(function)),
    )
