"""The views for health checks.

Rules kept here:

- Each answers within a second, even if the broker or the database hangs.
- Neither needs a login, a session or a transaction.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.db import connections, transaction
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from django_etp.draining import draining

from .checks import OK
from .dependencies import dependencies

__all__ = ["live", "ready"]

_View = Callable[[HttpRequest], Coroutine[Any, Any, JsonResponse]]


def _health_check(view: _View) -> _View:
    view = login_not_required(never_cache(require_safe(view)))
    for alias in connections:  # ATOMIC_REQUESTS is for views that are no coroutines, and it would use the database
        view = transaction.non_atomic_requests(using=alias)(view)
    return view


@_health_check
async def live(request: HttpRequest) -> JsonResponse:
    """Answer with 200: the event loop of this process turns."""
    return JsonResponse({"status": "live"})


@_health_check
async def ready(request: HttpRequest) -> JsonResponse:
    """Answer with 200 if the broker and the database answer, else with 503; the answer has the outcome of each.

    During a drain this is 503 in any case.
    """
    if draining.has_begun:
        return JsonResponse({"status": "not ready", "reason": "drain"}, status=503)
    checks = dict(dependencies())
    outcomes = dict(zip(checks, await asyncio.gather(*(check.outcome() for check in checks.values())), strict=True))
    is_ready = all(outcome == OK for outcome in outcomes.values())
    status = {"status": "ready" if is_ready else "not ready", "checks": outcomes}
    return JsonResponse(status, status=200 if is_ready else 503)
