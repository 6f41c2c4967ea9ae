"""Which pages may open a connection: the check of a handshake's Origin header (RFC 6455, section 10.2).

Rules kept here:

- Browsers always send Origin, other clients need not: without one the handshake passes.
- By default a page of the same host passes if ``ALLOWED_HOSTS`` lists that host, as does a page of any host listed
  there. ``"*"`` in ``ALLOWED_HOSTS`` accepts every Host header, but no page of another host.
- ``ALLOWED_ORIGINS`` replaces that default. Only ``"*"`` as its value allows every origin, and the origin ``null``.
- The port counts, unless an allowed host is listed without one.
- A rule without a scheme means pages of ``http`` and ``https``; of ``https`` alone if the handshake came by ``wss``.
- Hosts are compared as browsers write them (RFC 6454, section 6): in lower case, in Punycode, IPv6 addresses shortened.
"""

import ipaddress
import re
import unicodedata
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, NamedTuple

from django.conf import settings
from django.http.request import split_domain_port, validate_host

__all__ = ["is_origin_allowed", "is_origin_pattern"]

_DEFAULT_PORTS = {"http": 80, "https": 443}
_DEBUG_HOSTS = (".localhost", "127.0.0.1", "[::1]")

_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::([0-9]+))?")
_PATTERN = re.compile(r"(?:([a-z][a-z0-9+.-]*)://)?(\*?\.)?([^\s/?#@*,:\[\]\\]+|\[[0-9a-f:.]+\])(?::([0-9]+|\*))?/?")


class _Origin(NamedTuple):
    scheme: str
    host: str
    port: int | None


class _Pattern(NamedTuple):
    scheme: str | None
    host: str
    port: int | None
    has_any_port: bool
    matches_host: bool
    matches_subdomains: bool


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
    is_secure = scope.get("scheme") == "wss"
    if allowed is not None:
        return _matches_any([allowed] if isinstance(allowed, str) else allowed, origin, is_secure=is_secure)
    hosts = [host for host in settings.ALLOWED_HOSTS if host != "*"] or (_DEBUG_HOSTS if settings.DEBUG else [])
    return _is_same_host(scope, origin, is_secure=is_secure) or _matches_any(hosts, origin, is_secure=is_secure)


def is_origin_pattern(text: str) -> bool:
    """Return whether an entry of ``ALLOWED_ORIGINS`` names a host, and matches the origin of some page.

    A scheme that no page has, such as ``wss``, and one that looks like a misspelt ``https`` are refused.
    """
    pattern = _parse_pattern(text)
    if pattern is None or text == "null":  # the origin of a sandboxed page, which no entry allows
        return False
    scheme = pattern.scheme
    return scheme in (None, "http", "https") or not (scheme in ("ws", "wss") or get_close_matches(scheme, ["https"]))


@lru_cache(maxsize=256)  # a site has few
def _parse(text: str) -> _Origin | None:
    """Return scheme, host and port of an origin; ``None`` for a malformed one and for ``null``."""
    match = _ORIGIN.fullmatch(text.lower())
    if match is None:
        return None
    scheme, host, port = match.groups()
    number = _DEFAULT_PORTS.get(scheme) if port is None else int(port)
    host = _normal_host(host)
    return None if not host or not _is_port(number) else _Origin(scheme, host, number)


@lru_cache(maxsize=256)
def _parse_pattern(text: str) -> _Pattern | None:
    match = _PATTERN.fullmatch(text.lower())
    if match is None:
        return None
    scheme, prefix, host, port = match.groups()
    host = _normal_host(host)
    if not host:
        return None
    has_any_port = port == "*" or (port is None and scheme is None)
    number = None if has_any_port else _DEFAULT_PORTS.get(scheme) if port is None else int(port)
    if not _is_port(number):
        return None
    return _Pattern(scheme, host, number, has_any_port, matches_host=prefix != "*.", matches_subdomains=bool(prefix))


def _matches_any(patterns: Iterable[str], origin: _Origin, *, is_secure: bool) -> bool:
    return any(
        pattern is not None and _matches(pattern, origin, is_secure=is_secure)
        for pattern in map(_parse_pattern, patterns)
    )


def _matches(pattern: _Pattern, origin: _Origin, *, is_secure: bool) -> bool:
    if pattern.scheme is None:
        if not _is_page_of_site(origin, is_secure=is_secure):
            return False
    elif pattern.scheme != origin.scheme:
        return False
    if not pattern.has_any_port and pattern.port != origin.port:
        return False
    if pattern.matches_subdomains and origin.host.endswith(f".{pattern.host}"):
        return True
    return pattern.matches_host and pattern.host == origin.host


def _is_same_host(scope: dict[str, Any], origin: _Origin, *, is_secure: bool) -> bool:
    hosts = [value for name, value in scope.get("headers", ()) if name == b"host"]
    if len(hosts) != 1 or not _is_page_of_site(origin, is_secure=is_secure):
        return False
    text = hosts[0].decode("latin-1")
    own = _parse(f"{origin.scheme}://{text}")
    return own is not None and own == origin and _may_serve(text)


def _may_serve(host: str) -> bool:
    """Return whether Django itself would answer a request to this host: a page of another one has only rebound its DNS.

    With neither ``ALLOWED_HOSTS`` nor ``DEBUG``, Django answers no request, and there is no list to compare with.
    """
    allowed = settings.ALLOWED_HOSTS or (_DEBUG_HOSTS if settings.DEBUG else ("*",))
    return validate_host(split_domain_port(host)[0], allowed)


def _is_page_of_site(origin: _Origin, *, is_secure: bool) -> bool:
    return origin.scheme == "https" or (origin.scheme == "http" and not is_secure)


def _is_port(number: int | None) -> bool:
    return number is None or 0 < number < 65536


def _normal_host(host: str) -> str:
    """Return a host as browsers write it in an origin; empty if it is none."""
    if host.startswith("["):
        try:
            return f"[{ipaddress.IPv6Address(host[1:-1]).compressed}]"
        except ValueError:
            return ""
    labels = unicodedata.normalize("NFKC", host).lower().split(".")
    if not all(labels[:-1]) or labels == [""]:
        return ""
    return ".".join(label if label.isascii() else f"xn--{label.encode('punycode').decode()}" for label in labels)
