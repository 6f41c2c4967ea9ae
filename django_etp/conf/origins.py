"""Origins of pages, and the patterns that ``ALLOWED_ORIGINS`` and ``ALLOWED_HOSTS`` hold for them.

Rules kept here:

- The port counts, unless a pattern has neither a scheme nor a port, or ``*`` as its port.
- A pattern without a scheme matches pages of ``http`` and ``https``; only those of ``https`` if the handshake came by
  ``wss``.
- A pattern that begins with a dot matches a host and its subdomains; one that begins with ``*.`` only the subdomains.
- Hosts are compared as browsers write them (RFC 6454, section 6): in lower case, in Punycode, IPv6 addresses shortened.
"""

import ipaddress
import re
import unicodedata
from difflib import get_close_matches
from functools import lru_cache
from typing import NamedTuple

__all__ = ["Origin", "OriginPattern", "is_origin_pattern", "parse_origin", "parse_pattern"]

_DEFAULT_PORTS = {"http": 80, "https": 443}
_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::([0-9]+))?")
_HOST = re.compile(r"[a-z0-9._-]+")
_PATTERN = re.compile(r"(?:([a-z][a-z0-9+.-]*)://)?(\*?\.)?([^\s/?#@*,:\[\]\\]+|\[[0-9a-f:.]+\])(?::([0-9]+|\*))?/?")


class Origin(NamedTuple):
    """The scheme, host and port of a page; no port if the scheme has no default one."""

    scheme: str
    host: str
    port: int | None

    def is_web_page(self, *, is_secure: bool) -> bool:
        """Whether this is a page of ``https``, or one of ``http`` whose handshake did not come by TLS."""
        return self.scheme == "https" or (self.scheme == "http" and not is_secure)


class OriginPattern(NamedTuple):
    """An entry of ``ALLOWED_ORIGINS`` or ``ALLOWED_HOSTS``."""

    scheme: str | None
    host: str
    port: int | None
    has_any_port: bool
    matches_host: bool
    matches_subdomains: bool

    def matches(self, origin: Origin, *, is_secure: bool) -> bool:
        """Return whether the pattern matches an origin; ``is_secure``: the handshake came by TLS."""
        if self.scheme is None:
            if not origin.is_web_page(is_secure=is_secure):
                return False
        elif self.scheme != origin.scheme:
            return False
        if not self.has_any_port and self.port != origin.port:
            return False
        if self.matches_subdomains and origin.host.endswith(f".{self.host}"):
            return True
        return self.matches_host and self.host == origin.host


@lru_cache(maxsize=256)  # a site has few
def parse_origin(text: str) -> Origin | None:
    """Return the origin that a header names; ``None`` for a malformed one and for ``null``."""
    match = _ORIGIN.fullmatch(text.lower())
    if match is None:
        return None
    scheme, host, port = match.groups()
    number = _DEFAULT_PORTS.get(scheme) if port is None else int(port)
    host = _normal_host(host)
    return Origin(scheme, host, number) if host and _is_port(number) else None


@lru_cache(maxsize=256)
def parse_pattern(text: str) -> OriginPattern | None:
    """Return the pattern that a text means, ``None`` if it means none."""
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
    return OriginPattern(
        scheme, host, number, has_any_port, matches_host=prefix != "*.", matches_subdomains=bool(prefix)
    )


def is_origin_pattern(text: str) -> bool:
    """Return whether an entry of ``ALLOWED_ORIGINS`` names a host and matches the origin of some page.

    A scheme that no page has, such as ``wss``, and one that looks like a misspelt ``https`` are refused.
    """
    pattern = parse_pattern(text)
    if pattern is None or text == "null":  # the origin of a sandboxed page, which no entry allows
        return False
    scheme = pattern.scheme
    return scheme in (None, "http", "https") or not (scheme in ("ws", "wss") or get_close_matches(scheme, ["https"]))


def _is_port(number: int | None) -> bool:
    return number is None or 0 < number < 65536


def _normal_host(host: str) -> str:
    """Return a host as browsers write it in an origin; empty if it is none."""
    if host.startswith("["):
        try:
            return f"[{ipaddress.IPv6Address(host[1:-1]).compressed}]"
        except ValueError:
            return ""
    labels = unicodedata.normalize("NFKC", host).replace("\u3002", ".").lower().split(".")
    if not all(labels[:-1]) or labels == [""]:
        return ""
    name = ".".join(label if label.isascii() else f"xn--{label.encode('punycode').decode()}" for label in labels)
    return name if _HOST.fullmatch(name) else ""
