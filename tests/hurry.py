"""Event loops whose clock jumps ahead while nobody has anything to do: minutes of waiting pass at once.

For code that waits for nothing but its loop's timers; what comes from other threads or sockets would come too late.
"""

import asyncio
import contextlib
import functools
import selectors
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any


class _Selector(selectors.DefaultSelector):
    ahead = 0.0

    def select(self, timeout: float | None = None) -> Any:
        assert timeout is not None, "everybody waits, and for no timer"
        self.ahead += timeout
        return super().select(0)


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._clock = _Selector()
        super().__init__(self._clock)

    def time(self) -> float:
        return super().time() + self._clock.ahead


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
