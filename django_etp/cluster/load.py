"""The load of the way to other processes."""

import asyncio
from dataclasses import dataclass

from .liveness import Liveness
from .publisher import Publisher

__all__ = ["Load", "load_of"]


@dataclass(frozen=True, slots=True)
class Load:
    """The frames that wait for the channel layer, and how fast the layer is.

    Attributes:
        frames: how many frames wait to be sent to other processes.
        size: the number of characters in these.
        lag: for how many seconds the last message of this process to itself was under way, or has been until now.
    """

    frames: int = 0
    size: int = 0
    lag: float = 0.0


def load_of(publisher: Publisher, liveness: Liveness) -> Load:
    """Return the load of a node, by its parts."""
    return Load(*publisher.waiting, liveness.lag(asyncio.get_running_loop().time()))
