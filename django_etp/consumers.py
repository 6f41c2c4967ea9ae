"""The Channels edge: one ASGI connection in, checked for where it comes from, and served by a hub."""

import inspect
import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

from channels.consumer import AsyncConsumer
from django.core.exceptions import ImproperlyConfigured

import django_etp.rooms.queries  # noqa: F401  (registers what other processes ask of this one)

from .auth.revocation import is_revoked
from .concurrency.database import use_handler_thread, use_handshake_thread
from .conf import get_settings, is_origin_rule
from .connections.asgi import Receive, Send, past_session_middleware, with_trailing_delimiter
from .events.errors import report
from .events.registry import registry
from .hub.process import serving_hub
from .server.lifecycle import Lifecycle
from .server.maintenance import maintain
from .server.origins import is_origin_allowed
from .sessions.loaded import load_session

__all__ = ["EtpConsumer", "HandshakeThreads"]

logger = logging.getLogger(__name__)

# A token of RFC 9110, which is what a subprotocol may be (RFC 6455, section 4.1).
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class EtpConsumer(AsyncConsumer):  # type: ignore[misc]  # Channels has no types
    """An ASGI application that speaks ETP; route it with ``EtpConsumer.as_asgi()``.

    Args:
        namespace: whose handlers, hooks and rooms its connections have.
        allowed_origins: what the setting ``ALLOWED_ORIGINS`` may be, for this route alone.
        trailing_delimiter: write the second delimiter of frames without data too, for browser clients of the
            reference, which refuse frames of two parts.
        subprotocols: the names of WebSocket subprotocols (RFC 6455, section 1.9) of which the first that a client
            offers is selected, unless it offers the extensions. Browsers refuse a server that selects nothing of what
            they offered. A page that sends its token as ``["access_token", token]`` needs ``["access_token"]`` here: a
            name that is not listed, such as the token, is never selected, and so never sent back.

    Raises:
        ImproperlyConfigured: ``allowed_origins`` is not what the setting may be, or ``subprotocols`` no list of names.
        TypeError: ``namespace`` is not str.
    """

    @classmethod
    def as_asgi(cls, *args: Any, **options: Any) -> Callable[..., Awaitable[None]]:
        """Return the ASGI application; takes the arguments of the class."""
        consumer = cls(*args, **options)  # what does not fit is said when the project starts, not at each handshake
        if cls is EtpConsumer:
            return consumer  # it keeps nothing of a connection, so that one is enough for all
        options |= zip(inspect.signature(cls).parameters, args, strict=False)  # Channels takes them by name alone
        return cast(Callable[..., Awaitable[None]], super().as_asgi(**options))

    def __init__(
        self,
        namespace: str = "default",
        allowed_origins: str | Sequence[str] | None = None,
        trailing_delimiter: bool = False,
        subprotocols: Sequence[str] = (),
    ) -> None:
        if not is_origin_rule(allowed_origins):
            raise ImproperlyConfigured(
                'allowed_origins must be None, "*" by itself, or a list of origins such as "https://example.com", '
                f"got {allowed_origins!r:.80}."
            )
        if not isinstance(subprotocols, list | tuple) or not all(map(_is_subprotocol, subprotocols)):
            raise ImproperlyConfigured(
                'subprotocols must be a list of names such as "access_token", which do not begin with "etp.", '
                f"got {subprotocols!r:.80}."
            )
        registry.namespace(namespace)  # refuses what cannot be one
        self.namespace = namespace
        self.trailing_delimiter = trailing_delimiter
        self.allowed_origins = allowed_origins
        self.subprotocols = tuple(subprotocols)

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Serve one connection from its handshake to its end."""
        with use_handler_thread():
            await self._serve(scope, receive, send)

    async def _serve(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            raise ValueError(
                f"EtpConsumer serves WebSocket connections, got one of type {scope['type']!r}. "
                "Route it under 'websocket' in ProtocolTypeRouter."
            )
        allowed = get_settings().allowed_origins if self.allowed_origins is None else self.allowed_origins
        if not is_origin_allowed(scope, allowed):
            if (await receive())["type"] == "websocket.connect":
                await self._refuse(scope, send)
            return
        hub = serving_hub()
        send = past_session_middleware(send)
        if self.trailing_delimiter:
            send = with_trailing_delimiter(send)
        hub.report, hub.accompany = _report_to_hooks, maintain
        try:
            await hub.begin_serving()
            await load_session(scope.get("session"))
            if is_revoked(hub, scope):
                await receive()
                await send({"type": "websocket.close", "code": 4401})
            else:
                await Lifecycle(hub, scope, receive, send, self.namespace, self.subprotocols).run()
        finally:
            await hub.end_serving()

    async def _refuse(self, scope: dict[str, Any], send: Send) -> None:
        origins = [value.decode("latin-1") for name, value in scope["headers"] if name == b"origin"]
        logger.warning(
            "Refused a handshake for %.200r from origin %.200r: %s.",
            scope.get("path"),
            ", ".join(origins),
            "pages without an origin, as sandboxed ones, pass where ETP['ALLOWED_ORIGINS'] is \"*\" and nowhere else"
            if origins == ["null"]
            else "list it in ETP['ALLOWED_ORIGINS'] if it should pass",
        )
        await send({"type": "websocket.close", "code": 4403})


class HandshakeThreads:
    """An ASGI application around the middleware of handshakes, which then waits for nothing but other handshakes.

    Channels' ``AuthMiddlewareStack`` loads the session and the user in the one thread of a process that asgiref shares
    among all thread-sensitive calls outside of requests. Inside of this it does so in one of up to 8 threads that only
    handshakes use, each with its own database connection.

    Args:
        application: the middleware around ``EtpConsumer``, such as an ``AuthMiddlewareStack``.
    """

    def __init__(self, application: Callable[[dict[str, Any], Receive, Send], Awaitable[None]]) -> None:
        self._application = application

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Serve one connection."""
        with use_handshake_thread():
            await self._application(scope, receive, send)


def _is_subprotocol(name: object) -> bool:
    # Those of ETP, and tokens in them, are not the application's to select.
    return isinstance(name, str) and _TOKEN.fullmatch(name) is not None and not name.startswith("etp.")


async def _report_to_hooks(namespace: str, error: Exception) -> None:
    await report(registry.namespace(namespace), None, error, "the channel layer")
