"""Whether this process drains: it is about to end, and lets its clients go to other processes first.

The protocol class for uvicorn asks here, too, and that knows neither Django nor Channels.
"""

from collections.abc import Callable

__all__ = ["Draining", "draining"]


class Draining:
    """The state of this process.

    Attributes:
        has_begun: whether new connections are refused.
        closes: is called by a server that ends by itself, with the object that it has for a connection; it begins the
            drain, and returns whether the drain closes this connection. ``None`` if the project uses no drain.
    """

    __slots__ = ("closes", "has_begun")

    has_begun: bool
    closes: Callable[[object], bool] | None

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the drain, as a test does at its end."""
        self.has_begun = False
        self.closes = None


draining = Draining()
