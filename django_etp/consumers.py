"""The ASGI applications that a project routes: ``EtpConsumer``, and the threads of its handshakes."""

import re
from collections.abc import Awaitable, Callable, Sequence
from functools import update_wrapper
from typing import Any

from django.core.exceptions import ImproperlyConfigured

import django_etp.doctor.processes
import django_etp.rooms.queries  # noqa: F401  (both register what other processes ask of this one)

from . import tenancy
from .auth.revocation import is_revoked
from .concurrency.database import use_handler_thread, use_handshake_thread
from .conf import is_origin_rule
from .connections.asgi import (
    Receive,
    Send,
    past_session_middleware,
    refuse,
    refuse_in_drain,
    with_trailing_delimiter,
)
from .connections.scope import tenant_of
from .draining import draining
from .events.registry import registry
from .server.handshake import check_origin
from .server.lifecycle import Lifecycle
from .server.serving import current_serving
from .sessions.loaded import load_session

__all__ = ["EtpConsumer", "HandshakeThreads"]

# A token of RFC 9110, which is what a subprotocol may be (RFC 6455, section 4.1).
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class EtpConsumer:
    """An ASGI application that speaks ETP; route it with ``EtpConsumer.as_asgi()``.

    Args:
        namespace: the name of its handlers, hooks and rooms; others have other names.
        allowed_origins: a value of the setting ``ALLOWED_ORIGINS``, for this route alone.
        trailing_delimiter: write the second delimiter of frames without data too, for browser clients of the
            reference implementation, which refuse frames of two parts.
        subprotocols: names of WebSocket subprotocols (RFC 6455, section 1.9). The first of a client's offers that is
            listed here is selected, unless the client offers the extensions. Browsers refuse a server that selects
            none of their offers. A page that sends its token as ``["access_token", token]`` needs ``["access_token"]``
            here: a name that is not listed, such as the token, is never selected, and so never sent back.

    Raises:
        ImproperlyConfigured: ``allowed_origins`` is not what the setting may be, or ``subprotocols`` no list of names.
        TypeError: ``namespace`` is not str.
    """

    # The application returns nothing, but type checkers let path() take only what may return a response.
    @classmethod
    def as_asgi(cls, *args: Any, **options: Any) -> Callable[[dict[str, Any], Receive, Send], Any]:
        """Return the ASGI application; takes the arguments of the class."""
        consumer = cls(*args, **options)  # wrong arguments raise when the project starts, not at each handshake
        if cls is EtpConsumer:
            return consumer  # it keeps nothing of a connection, so one instance serves all

        async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
            await cls(*args, **options)(scope, receive, send)

        return update_wrapper(application, cls, updated=())

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
        if scope["type"] != "websocket":
            raise ValueError(
                f"EtpConsumer serves WebSocket connections, got one of type {scope['type']!r}. "
                "Route it under 'websocket' in ProtocolTypeRouter."
            )
        with use_handler_thread():
            if not check_origin(scope, self.allowed_origins):
                await refuse(receive, send, 4403)
                return
            send = past_session_middleware(send)
            if draining.has_begun:
                await refuse_in_drain(scope, receive, send)
                return
            if self.trailing_delimiter:
                send = with_trailing_delimiter(send)
            serving = current_serving()
            try:
                await serving.begin()
                if tenancy.has_tenants():  # after the hub was made, which keeps the context of its first connection
                    tenancy.set_current_tenant(tenant_of(scope))
                await load_session(scope.get("session"))
                if is_revoked(serving.hub, scope):
                    await refuse(receive, send, 4401)
                else:
                    await Lifecycle(serving, scope, receive, send, self.namespace, self.subprotocols).run()
            finally:
                await serving.end()


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
