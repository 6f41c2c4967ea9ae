"""The ASGI scope of a handshake, as a server makes it, and the application that a test connects to by default."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any
from urllib.parse import unquote

from channels.auth import AuthMiddleware, AuthMiddlewareStack

from django_etp.consumers import EtpConsumer

__all__ = ["Application", "default_application", "handshake_scope"]

Application = Callable[[dict[str, Any], Callable[..., Any], Callable[..., Any]], Awaitable[None]]


def default_application(namespace: str, *, has_user: bool, has_session: bool) -> Application:
    """Return a consumer, with the middleware that puts into the scope what the test does not give."""
    consumer = EtpConsumer.as_asgi(namespace=namespace)
    if has_user:
        return consumer
    application: Application = AuthMiddleware(consumer) if has_session else AuthMiddlewareStack(consumer)
    return application


def handshake_scope(
    path: str, headers: Iterable[tuple[str | bytes, str | bytes]], origin: str | None, subprotocols: Iterable[str]
) -> dict[str, Any]:
    """Return the scope of a handshake. ``path`` is quoted as in a URL and may have a query string."""
    path, _, query = path.partition("?")
    pairs = [(_bytes(name).lower(), _bytes(value)) for name, value in headers]
    if not any(name == b"host" for name, _ in pairs):
        pairs.append((b"host", b"testserver"))
    if origin is not None:
        pairs.append((b"origin", origin.encode()))
    return {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "scheme": "ws",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": pairs,
        "subprotocols": list(subprotocols),
        "client": ("127.0.0.1", 0),
        "server": ("testserver", 80),
        "extensions": {"websocket.http.response": {}},  # as uvicorn
    }


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("latin-1")
