"""The ASGI scope of a connection, as uvicorn's own WebSocket classes make it."""

import asyncio
from typing import Any
from urllib.parse import quote, unquote

from uvicorn.config import Config
from uvicorn.protocols.utils import get_local_addr, get_remote_addr, is_ssl

from .handshake import Request

__all__ = ["describe", "make_scope"]


def make_scope(
    request: Request, transport: asyncio.Transport, config: Config, app_state: dict[str, Any]
) -> dict[str, Any]:
    """Return the scope of a request."""
    raw_path, _, query_string = request.target.partition(b"?")
    return {
        "type": "websocket",
        "asgi": {"version": config.asgi_version, "spec_version": "2.4"},
        "http_version": "1.1",
        "scheme": "wss" if is_ssl(transport) else "ws",
        "server": get_local_addr(transport),
        "client": get_remote_addr(transport),
        "root_path": config.root_path,
        "path": config.root_path + unquote(raw_path.decode("ascii")),
        "raw_path": config.root_path.encode("ascii") + raw_path,
        "query_string": query_string,
        "headers": request.headers,
        "subprotocols": request.subprotocols(),
        "state": app_state.copy(),
        "extensions": {"websocket.http.response": {}, "django_etp.direct": {}},
    }


def describe(scope: dict[str, Any]) -> tuple[str, str]:
    """Return the client and the path of a scope for a line of the log.

    A proxy's headers may have changed the client since the scope was made.
    """
    client = "{}:{}".format(*scope["client"]) if scope.get("client") else ""
    path = quote(scope["path"])
    query = scope["query_string"].decode("ascii")
    return client, f"{path}?{query}" if query else path
