"""Event loops whose clock stands still while any task is ready to run, and jumps ahead when all wait for timers.

So minutes of waiting pass at once, and no time limit is exceeded because a machine is slow. Use them only for code that
waits for timers of its loop: results of other threads or sockets would arrive too late.
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
    """Turn a coroutine function into a test that runs on such a loop."""

    @functools.wraps(test)
    def run() -> None:
        with asyncio.Runner(loop_factory=_Loop) as runner:
            runner.run(test())

    return run


async def seconds(awaitable: Awaitable[Any]) -> float:
    """Return the seconds on the loop's clock until it was done, with a result or an error."""
    loop = asyncio.get_running_loop()
    began_at = loop.time()
    with contextlib.suppress(Exception):
        await awaitable
    return loop.time() - began_at


def kept(thing: object) -> dict[str, int]:
    """Return the sizes of an object's attributes that are not empty."""
    return {name: len(value) for name, value in vars(thing).items() if hasattr(value, "__len__") and len(value)}


def stand_still(seconds: float) -> None:
    """Advance the clock without a turn of the loop, as if something blocked it."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, _Loop)
    loop.pass_by(seconds)
