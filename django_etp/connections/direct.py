"""The ASGI extension ``django_etp.direct``: a server that passes messages on by calls, as ``django_etp.uvicorn`` does.

The extension has no values. It promises that the object whose methods ``receive`` and ``send`` are has two more.
"""

from asyncio import Future
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from .asgi import Receive, Send

__all__ = ["Server", "server_of"]


@runtime_checkable
class Server(Protocol):
    """The methods of a server beside ``receive`` and ``send``."""

    def receive_by(self, take: Callable[[str | bytes], bool]) -> Future[dict[str, Any] | None]:
        """Call ``take`` with the data of each message of the client.

        The future is done with ``None`` once ``take()`` has returned True, and messages wait until the next call; with
        the ``websocket.disconnect`` at the end; or with what ``take()`` raises.
        """

    def offer(self, text: str) -> bool:
        """Send a text, unless the client is behind or gone; return whether it is sent."""


def server_of(scope: dict[str, Any], receive: Receive, send: Send) -> Server | None:
    """Return the server of a connection if it offers the extension.

    Return ``None`` if a middleware has wrapped ``receive`` or ``send``: it is to see every message.
    """
    if "django_etp.direct" not in (scope.get("extensions") or ()):
        return None
    server = getattr(send, "__self__", None)
    return server if server is getattr(receive, "__self__", None) and isinstance(server, Server) else None
