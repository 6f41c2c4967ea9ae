"""The transport behind the ``send`` of an ASGI server, if the server lets it be found.

uvicorn's ``send`` is a method of the protocol object, which holds the asyncio transport. daphne's is not, nor is the
``send`` of a middleware that wraps it.
"""

import asyncio
from typing import cast

from .asgi import Send

__all__ = ["transport_of"]


def transport_of(send: Send) -> asyncio.Transport | None:
    """Return the asyncio transport that ``send`` writes to; ``None`` if it cannot be found."""
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    # uvloop's transports are no subclasses of asyncio's.
    if all(callable(getattr(transport, name, None)) for name in ("abort", "get_write_buffer_size")):
        return cast(asyncio.Transport, transport)
    return None
