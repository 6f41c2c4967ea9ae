"""Keep the database connections of asgiref's shared thread fresh: the ORM's a-methods run there."""

import asyncio
import math
import time

from asgiref.sync import sync_to_async
from django.db import close_old_connections

from .tasks import leave_alone
from .workers import has_runner

__all__ = ["expect_broken_database", "keep_database_fresh", "look_after_database"]

# How long asgiref's shared thread goes at most without its connections being looked after, in seconds.
_FRESH_FOR = 10.0

_looked_after_at = -math.inf


async def keep_database_fresh() -> None:
    """Have the database looked after where nobody has for 10 s; to be called before each async hook.

    It is done before whatever the hook asks of the ORM, but not waited for: others may keep asgiref's thread busy.
    """
    if time.monotonic() - _looked_after_at > _FRESH_FOR:
        expect_broken_database()
        await asyncio.sleep(0)  # the call is in that thread's queue then


async def look_after_database() -> None:
    """Close too old or broken connections of asgiref's shared thread, where the ORM's a-methods run."""
    global _looked_after_at
    if not has_runner():
        _looked_after_at = time.monotonic()
        await sync_to_async(close_old_connections)()


def expect_broken_database() -> None:
    """Have the database looked after before the next of the ORM's a-methods: a connection may have broken."""
    leave_alone(asyncio.get_running_loop().create_task(look_after_database()))
