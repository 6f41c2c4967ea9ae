"""Events without a handler: they are in the log, since a plain client learns nothing of its mistake.

Rules kept here:

- A name is logged once a minute for all connections, and at most 100 names a minute, since clients choose the names.
- The level is INFO, as old clients may send what is gone, and WARNING in ``DEBUG``.
"""

import logging
import time
from difflib import get_close_matches
from functools import cache

from django.conf import settings

from django_etp.quoting import one_line

from .namespaces import Namespace
from .registry import registry

__all__ = ["log_unknown_event"]

logger = logging.getLogger(__name__)

# In seconds.
_INTERVAL = 60.0
_MOST_NAMES = 100

# Since when names are collected, and those that are in the log since then, with their namespaces.
_since = 0.0
_logged: set[tuple[str, str]] = set()


def log_unknown_event(name: str, namespace: str, handlers: Namespace) -> None:
    """Log that an event has no handler in its namespace, unless that is in the log already."""
    global _since
    if not (handlers.events or handlers.rooms):
        _log_nothing_is_handled(namespace)
        return
    now = time.monotonic()
    if now - _since >= _INTERVAL:
        _since = now
        _logged.clear()
    key = namespace, name[:80]
    if key in _logged or len(_logged) > _MOST_NAMES:
        return
    _logged.add(key)
    level = logging.WARNING if settings.DEBUG else logging.INFO
    if len(_logged) > _MOST_NAMES:
        logger.log(level, "More events without a handler arrive; they are not in the log for a minute.")
        return
    close = get_close_matches(name[:80], handlers.events, n=1)
    hint = f"Did you mean {close[0]!r}?" if close else f"The namespace has {len(handlers.events)} events."
    logger.log(level, "No handler for the event '%s' in the namespace %r. %s", one_line(name, 80), namespace, hint)


@cache
def _log_nothing_is_handled(namespace: str) -> None:
    """Log, once per namespace and process, that events arrive in a namespace without handlers."""
    logger.warning(
        "Events arrive in the namespace %r, which has no handler; namespaces with handlers: %s. Look for a typo in "
        "namespace=…, in ETP['EVENT_MODULES'], or in the name of an app's module.",
        namespace,
        ", ".join(map(repr, registry.handled)) or "none",
    )
