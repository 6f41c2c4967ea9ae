"""The server that is examined, and the origin, the cookies and the token of the connections to it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import SplitResult, urlsplit

from django_etp.client.probe import Probe, Refusal, open_probe

__all__ = ["InvalidTarget", "Target"]

_SCHEMES = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}
_PAGES = {"ws": "http", "wss": "https"}
_DEFAULT_PORTS = {"ws": 80, "wss": 443}


class InvalidTarget(ValueError):
    """A URL or an origin that cannot be examined; the text has the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A server, and how to connect to it.

    Attributes:
        url: the address of the socket, ``ws://`` or ``wss://``.
        origin: the origin of the site's pages.
        cookies: the cookies of the handshakes.
        token: a token to log in with; ``None`` for none.
        is_given_login: whether the caller gave the cookies or the token, for a user who is logged in.
        timeout: how long the server may take for each step, in seconds.
    """

    url: str
    origin: str
    cookies: Mapping[str, str] = field(default_factory=dict)
    token: str | None = None
    is_given_login: bool = False
    timeout: float = 10.0

    @property
    def parts(self) -> SplitResult:
        """The parts of the URL."""
        return urlsplit(self.url)

    @property
    def host(self) -> str:
        """The host of the URL, with a port that is not the default one."""
        host = self.parts.hostname or ""
        host = f"[{host}]" if ":" in host else host
        port = self.parts.port
        return host if port in (None, _DEFAULT_PORTS[self.parts.scheme]) else f"{host}:{port}"

    @property
    def is_secure(self) -> bool:
        """Whether the connections use TLS."""
        return self.parts.scheme == "wss"

    async def open(self, origin: str | None) -> Probe | Refusal:
        """Open a connection with an Origin header, or without one."""
        return await open_probe(self.url, origin=origin, cookies=self.cookies, token=self.token, timeout=self.timeout)


def make_target(
    url: str,
    *,
    origin: str | None = None,
    cookies: Mapping[str, str] | None = None,
    token: str | None = None,
    is_given_login: bool = False,
    timeout: float = 10.0,
) -> Target:
    """Return the target of a URL of the schemes ws, wss, http and https; by default its pages have its own host.

    Raises:
        InvalidTarget: the URL or the origin is none.
    """
    try:
        parts = urlsplit(url)
        scheme = _SCHEMES[parts.scheme]
        is_complete = bool(parts.hostname) and parts.port != 0
    except (KeyError, ValueError):
        is_complete = False
    if not is_complete:
        raise InvalidTarget(f"Expected the address of the socket, such as wss://example.com/ws/, got {url!r:.200}.")
    target = Target(
        url=parts._replace(scheme=scheme, path=parts.path or "/", fragment="").geturl(),
        origin="",
        cookies=dict(cookies or {}),
        token=token,
        is_given_login=is_given_login,
        timeout=timeout,
    )
    return replace(target, origin=_checked_origin(f"{_PAGES[scheme]}://{target.host}" if origin is None else origin))


def _checked_origin(origin: str) -> str:
    parts = urlsplit(origin)
    if parts.scheme not in _PAGES.values() or not parts.hostname or parts.path.strip("/"):
        raise InvalidTarget(f"Expected the origin of the pages, such as https://example.com, got {origin!r:.200}.")
    return f"{parts.scheme}://{parts.netloc}"
