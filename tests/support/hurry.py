"""Event loops whose clock stands while anybody has something to do, and jumps ahead where all wait for it.

So minutes of waiting pass at once, and no limit passes because a machine is slow. For code that waits for nothing but
its loop's timers; what comes from other threads or sockets would come too late.
"""

import asyncio
import contextlib
import functools
import selectors
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any


class _Selector(selectors.DefaultSelector):
    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        assert timeout is not None, "everybody waits, and for no timer"
        self.now += timeout
        return super().select(0)


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._clock = _Selector()
        super().__init__(self._clock)

    def time(self) -> float:
        return self._clock.now

    def pass_by(self, seconds: float) -> None:
        self._clock.now += seconds


def hurried(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Make a test of a coroutine function, which runs on such a loop."""

    @functools.wraps(test)
    def run() -> None:
        with asyncio.Runner(loop_factory=_Loop) as runner:
            runner.run(test())

    return run


async def seconds(awaitable: Awaitable[Any]) -> float:
    """Return how many seconds of the loop's clock passed until it was done, with a result or an error."""
    loop = asyncio.get_running_loop()
    began_at = loop.time()
    with contextlib.suppress(Exception):
        await awaitable
    return loop.time() - began_at


def kept(thing: object) -> dict[str, int]:
    """Return how many items each of the attributes of an object holds that hold any."""
    return {name: len(value) for name, value in vars(thing).items() if hasattr(value, "__len__") and len(value)}


def stand_still(seconds: float) -> None:
    """Let so much time pass without a turn of the hurried loop, as where something blocks it."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, _Loop)
    loop.pass_by(seconds)
