"""Which pages may open a connection: the check of a handshake's Origin header (RFC 6455, section 10.2).

Rules kept here:

- Browsers always send Origin, other clients need not: without one the handshake passes.
- By default a page of the same host passes, and of any host in ``ALLOWED_HOSTS``; ``"*"`` there does not count.
- ``ALLOWED_ORIGINS`` replaces that default. Only ``"*"`` as its value allows every origin, and the origin ``null``.
- The port counts, unless an allowed host is listed without one.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.utils.http import is_same_domain

from django_etp.conf import split_origin

__all__ = ["is_origin_allowed"]

_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_DEBUG_HOSTS = (".localhost", "127.0.0.1", "[::1]")


def is_origin_allowed(scope: dict[str, Any], allowed: str | Sequence[str] | None) -> bool:
    """Return whether a handshake's origin is allowed; ``allowed`` is what ``ALLOWED_ORIGINS`` may be."""
    origins = [value for name, value in scope.get("headers", ()) if name == b"origin"]
    if not origins or allowed == "*":
        return True
    if len(origins) > 1:
        return False
    origin = _parse(origins[0].decode("latin-1"))
    if origin is None:
        return False
    if allowed is not None:
        return any(_matches(pattern, origin) for pattern in ([allowed] if isinstance(allowed, str) else allowed))
    hosts = settings.ALLOWED_HOSTS or (_DEBUG_HOSTS if settings.DEBUG else ())
    return _is_same_host(scope, origin) or any(_matches(host, origin) for host in hosts if host != "*")


_Origin = tuple[str, str, int | None]


@lru_cache(maxsize=256)  # a site has few
def _parse(text: str) -> _Origin | None:
    """Return scheme, host and port of an origin; ``None`` where it is none, as ``null`` is."""
    try:
        parts = urlsplit(text.lower())
        port = parts.port
    except ValueError:
        return None
    if not parts.scheme or not parts.hostname or parts.path or parts.query or parts.fragment or "@" in parts.netloc:
        return None
    return parts.scheme, _bracketed(parts.hostname), port or _DEFAULT_PORTS.get(parts.scheme)


def _matches(pattern: str, origin: _Origin) -> bool:
    scheme, host, port = origin
    try:
        parts = split_origin(pattern)
        pattern_port = parts.port
    except ValueError:
        return False
    if parts.scheme:
        if parts.scheme != scheme:
            return False
        pattern_port = pattern_port or _DEFAULT_PORTS.get(scheme)
    pattern_host = _bracketed(parts.hostname or "")
    if pattern_host.startswith("*."):
        pattern_host = pattern_host[1:]
    return bool(pattern_host) and is_same_domain(host, pattern_host) and pattern_port in (None, port)


def _is_same_host(scope: dict[str, Any], origin: _Origin) -> bool:
    scheme, host, port = origin
    hosts = [value for name, value in scope.get("headers", ()) if name == b"host"]
    if len(hosts) != 1:
        return False
    own = _parse(f"{scheme}://{hosts[0].decode('latin-1')}")
    return own is not None and own[1:] == (host, port)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
