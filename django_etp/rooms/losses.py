"""Report events of committed transactions that may be lost.

Rules kept here:

- Losses are gathered for 0.1 s, so that an outage gives few reports.
- A report goes to ``on_error``, also in a process without connections; without an event loop, to the log alone.
"""

import logging
import os
import threading
from collections import Counter

from django_etp.exceptions import EtpError, LayerUnavailable, describe
from django_etp.hub.batches import Send
from django_etp.hub.hub import Hub

__all__ = ["report_lost"]

logger = logging.getLogger(__name__)

_REPORT_AFTER = 0.1

_lock = threading.Lock()
# How many events of a hub and namespace are lost, and the last error, until they are reported.
_lost: dict[tuple[Hub, str], tuple[int, Exception]] = {}


def report_lost(hub: Hub | None, sends: list[Send], error: Exception) -> None:
    """Report that events may not have reached other processes; from any thread."""
    if hub is None:
        _log(_loss(len(sends), error))
        return
    for namespace, count in Counter(send.namespace for send in sends).items():
        key = hub, namespace
        with _lock:
            is_first = key not in _lost
            _lost[key] = _lost.get(key, (0, error))[0] + count, error
        if is_first:
            try:
                hub.loop.call_soon_threadsafe(hub.loop.call_later, _REPORT_AFTER, _report, key)
            except RuntimeError:  # the loop is closed
                _log(_loss(_lost.pop(key)[0], error))


def _report(key: tuple[Hub, str]) -> None:
    with _lock:
        count, cause = _lost.pop(key)
    hub, namespace = key
    error = _loss(count, cause)
    if hub.report is None:
        _log(error)
    else:
        hub.run(hub.report(namespace, error))


def _loss(count: int, cause: Exception) -> LayerUnavailable:
    events = "1 event" if count == 1 else f"{count:,} events"
    error = LayerUnavailable(
        f"Of committed transactions, {events} may not have reached other processes: {describe(cause)}."
    )
    error.__cause__ = cause
    return error


def _log(error: LayerUnavailable) -> None:
    logger.error("%s", error, exc_info=None if isinstance(error.__cause__, EtpError) else error)


def _forget_all() -> None:
    global _lock
    _lock = threading.Lock()
    _lost.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
