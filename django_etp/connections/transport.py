"""The transport behind the ``send`` of an ASGI server, if the server lets it be found.

uvicorn's ``send`` is a method of the protocol object, which holds the transport. daphne's is a partial whose first
argument is that object. A middleware that wraps ``send`` hides it.
"""

import functools
from typing import Any

from .asgi import Send

__all__ = ["abort", "unsent_bytes"]


def unsent_bytes(send: Send) -> int | None:
    """Return how much of what was sent is still in the server's own buffer; ``None`` if the server does not show it."""
    size = getattr(_transport_of(send), "get_write_buffer_size", None)
    return int(size()) if callable(size) else None


def abort(send: Send) -> None:
    """Close the client's socket at once, with what it has not read, if the server lets its transport be found.

    Otherwise the socket stays open for as long as the client keeps it open.
    """
    transport = _transport_of(send)
    # The methods of asyncio's transports, and of Twisted's.
    close = getattr(transport, "abort", None) or getattr(transport, "abortConnection", None)
    if callable(close):
        close()


def _transport_of(send: Send) -> object:
    server: Any = getattr(send, "__wrapped__", send)
    if isinstance(server, functools.partial) and server.args:
        return getattr(server.args[0], "transport", None)
    return getattr(getattr(server, "__self__", None), "transport", None)
