"""The transport and the limits behind the ``send`` of an ASGI server, if the server lets them be found.

A middleware that wraps ``send`` hides them. django_etp.uvicorn.Protocol has ``unsent_bytes`` and ``max_size`` for this
module.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from .asgi import Receive, Send, server_behind

__all__ = ["Resume", "abort", "keep_short", "limit_message_size", "pause_reading", "unbounded_queue", "unsent_bytes"]

# How many messages may wait in daphne's queue before the socket is paused.
_MAX_UNREAD = 100

Resume = Callable[[], object]


def unsent_bytes(send: Send) -> int | None:
    """Return how much of what was sent is still in the server's own buffer; ``None`` if the server does not show it."""
    size = getattr(server_behind(send), "unsent_bytes", None)
    if isinstance(size, int):
        return size
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


def pause_reading(send: Send) -> Resume | None:
    """Read nothing more from the client's socket; return what resumes that.

    Return ``None`` if that is impossible, or needless: uvicorn reads nothing while the application receives nothing.
    """
    transport = _transport_of(send)
    # The methods of Twisted's transports: IPushProducer.
    pause: Resume | None = getattr(transport, "pauseProducing", None)
    resume: Resume | None = getattr(transport, "resumeProducing", None)
    if pause is None or resume is None:
        return None
    pause()
    return resume


def unbounded_queue(receive: Receive, send: Send) -> asyncio.Queue[Any] | None:
    """Return the queue of messages that daphne fills for as long as it reads; ``None`` on other servers."""
    queue = getattr(receive, "__self__", None)
    return queue if isinstance(queue, asyncio.Queue) and hasattr(_transport_of(send), "pauseProducing") else None


def keep_short(queue: asyncio.Queue[Any], send: Send, resume: Resume | None) -> Resume | None:
    """Pause the socket while too many messages wait in daphne's queue, until it is empty.

    ``resume`` is what the call before this one returned.
    """
    if resume is None:
        return pause_reading(send) if queue.qsize() > _MAX_UNREAD else None
    if queue.empty():
        resume()
        return None
    return resume


def limit_message_size(send: Send, limit: int) -> None:
    """Let uvicorn refuse larger messages of this client before it has unpacked them, with 1009.

    Otherwise a message that is 16 KB on the wire may take 16 MiB and more in memory before the application sees it.
    """
    server = server_behind(send)
    # uvicorn's protocols on the two interfaces of the library websockets; django_etp.uvicorn is like the older one.
    for owner, name in ((getattr(server, "conn", None), "max_message_size"), (server, "max_size")):
        size = getattr(owner, name, 0)
        if size is None or (isinstance(size, int) and size > limit):
            setattr(owner, name, limit)


def _transport_of(send: Send) -> object:
    return getattr(server_behind(send), "transport", None)
