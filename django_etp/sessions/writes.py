"""Write the changes of many connections to one stored session together.

Rules kept here:

- Of one session, one write is under way at a time in a process. So its connections take one thread, however many write.
- Changes that come meanwhile wait, and go together in the next write, in their order.
- If such a write fails, each of its changes is written alone: one that cannot be stored stops no other.
- A caller that is cancelled leaves its change to the write.
"""

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import InterfaceError, OperationalError

from django_etp import tenancy
from django_etp.concurrency.tasks import leave_alone
from django_etp.concurrency.workers import run_own

from .storage import patch_session

__all__ = ["Patch", "write_patch"]

# Another try would wait as long as the one that failed.
_OUT_OF_REACH = (InterfaceError, OperationalError, OSError)

_Waiting = tuple["Patch", asyncio.Future[bool]]
# The changes that wait for a write under way, by event loop, tenant and session key.
_waiting: dict[tuple[asyncio.AbstractEventLoop, str, str], list[_Waiting]] = {}


@dataclass(frozen=True, slots=True)
class Patch:
    """A change of a stored session. See patch_session() for the fields."""

    change: Callable[[dict[str, Any]], None]
    prolong: bool = False
    is_end: bool = False


async def write_patch(session_key: str, patch: Patch) -> bool:
    """Apply a change to a stored session, alone or with others; return whether the session still exists."""
    loop = asyncio.get_running_loop()
    name = loop, tenancy.schema_name(tenancy.current_tenant()), session_key
    future: asyncio.Future[bool] = loop.create_future()
    if (others := _waiting.get(name)) is not None:
        others.append((patch, future))
    else:
        _waiting[name] = [(patch, future)]
        leave_alone(loop.create_task(_write_waiting(name)))
    return await future


async def _write_waiting(name: tuple[asyncio.AbstractEventLoop, str, str]) -> None:
    batch: list[_Waiting] = []
    try:
        while batch := _waiting[name]:
            _waiting[name] = []
            results: list[bool | Exception]
            try:
                results = await run_own(_write, name[2], [patch for patch, _ in batch], owner=name[2])
            except Exception as error:  # the threads take no more calls, as when the process ends
                results = [error] * len(batch)
            for (_, future), result in zip(batch, results, strict=True):
                if future.done():
                    continue
                if isinstance(result, Exception):
                    future.set_exception(result)
                else:
                    future.set_result(result)
    finally:
        for _, future in batch + _waiting.pop(name):
            future.cancel()  # those that are left, if the loop ends


def _write(session_key: str, patches: Sequence[Patch]) -> list[bool | Exception]:
    """Write changes, and return for each of them whether the session exists, or why it could not be written."""

    def change(content: dict[str, Any]) -> None:
        for patch in patches:
            patch.change(content)

    try:
        lives = patch_session(
            session_key,
            change,
            prolong=any(patch.prolong for patch in patches),
            is_end=all(patch.is_end for patch in patches),
        )
    except Exception as error:
        if len(patches) == 1 or isinstance(error, _OUT_OF_REACH):
            return [error] * len(patches)
        return [result for patch in patches for result in _write(session_key, [patch])]
    return [lives] * len(patches)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_waiting.clear)
