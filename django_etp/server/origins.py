"""Which pages may open a connection: the check of a handshake's Origin header (RFC 6455, section 10.2).

Rules kept here:

- Browsers always send Origin, other clients may not: a handshake without one is allowed.
- By default a page of the same host is allowed if ``ALLOWED_HOSTS`` lists that host, and a page of any other host that
  is listed there. ``"*"`` in ``ALLOWED_HOSTS`` accepts every Host header, but no page of another host.
- ``ALLOWED_ORIGINS`` replaces that default. Only ``"*"`` as its value allows every origin, and the origin ``null``.
- A handshake came by TLS if the server knows so, or a proxy, by the header that ``SECURE_PROXY_SSL_HEADER`` names.
- ``conf/origins.py`` has the rules by which a pattern matches an origin.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from django.conf import settings
from django.http.request import split_domain_port, validate_host

from django_etp.conf.origins import Origin, parse_origin, parse_pattern

__all__ = ["is_origin_allowed"]

_DEBUG_HOSTS = (".localhost", "127.0.0.1", "[::1]")


def is_origin_allowed(scope: dict[str, Any], allowed: str | Sequence[str] | None) -> bool:
    """Return whether a handshake's origin is allowed; ``allowed`` is a value of ``ALLOWED_ORIGINS``."""
    origins = _headers(scope, b"origin")
    if not origins or allowed == "*":
        return True
    origin = parse_origin(origins[0]) if len(origins) == 1 else None
    if origin is None:
        return False
    is_secure = _is_secure(scope)
    if allowed is not None:
        return _matches_any([allowed] if isinstance(allowed, str) else allowed, origin, is_secure=is_secure)
    hosts = [host for host in settings.ALLOWED_HOSTS if host != "*"] or (_DEBUG_HOSTS if settings.DEBUG else [])
    return _is_same_host(scope, origin, is_secure=is_secure) or _matches_any(hosts, origin, is_secure=is_secure)


def _headers(scope: dict[str, Any], wanted: bytes) -> list[str]:
    return [value.decode("latin-1") for name, value in scope.get("headers", ()) if name == wanted]


def _is_secure(scope: dict[str, Any]) -> bool:
    """Return whether the client's side of the handshake came by TLS, as ``HttpRequest.scheme`` would know."""
    if settings.SECURE_PROXY_SSL_HEADER:
        header, secure_value = settings.SECURE_PROXY_SSL_HEADER
        values = _headers(scope, header.removeprefix("HTTP_").replace("_", "-").lower().encode())
        if values:
            return values[0].split(",", 1)[0].strip() == secure_value
    return scope.get("scheme") == "wss"


def _matches_any(patterns: Iterable[str], origin: Origin, *, is_secure: bool) -> bool:
    return any(
        pattern is not None and pattern.matches(origin, is_secure=is_secure) for pattern in map(parse_pattern, patterns)
    )


def _is_same_host(scope: dict[str, Any], origin: Origin, *, is_secure: bool) -> bool:
    hosts = _headers(scope, b"host")
    if len(hosts) != 1 or not origin.is_web_page(is_secure=is_secure):
        return False
    if parse_origin(f"{origin.scheme}://{hosts[0]}") != origin:
        return False
    # Would Django itself answer a request to this host? A page of another host has only rebound its DNS name. With
    # neither ALLOWED_HOSTS nor DEBUG Django answers no request, and there is no list to compare with.
    served = settings.ALLOWED_HOSTS or (_DEBUG_HOSTS if settings.DEBUG else ("*",))
    return validate_host(split_domain_port(hosts[0])[0], served)
