"""Whether a browser sends the session cookie with the handshake, by the rules of browsers (RFC 6265bis)."""

from collections.abc import Iterator
from ipaddress import ip_address
from urllib.parse import urlsplit

from django.conf import settings

from .findings import Finding, failure, ok
from .target import Target

__all__ = ["check_cookie_rules", "reasons_not_sent"]

_PAGES = {"ws": "http", "wss": "https"}


def check_cookie_rules(target: Target) -> Finding:
    """Check by the settings whether pages of the target's origin send the session cookie to its URL."""
    expected = (
        f"a browser on a page of {target.origin} sends the cookie {settings.SESSION_COOKIE_NAME!r} to {target.url}"
    )
    reasons = list(reasons_not_sent(target))
    if not reasons:
        return ok("cookie rules", expected, "it does, by the settings")
    remedies = " ".join(remedy for _, remedy in reasons)
    return failure("cookie rules", expected, "; ".join(reason for reason, _ in reasons), remedies)


def reasons_not_sent(target: Target) -> Iterator[tuple[str, str]]:
    """Yield the reasons why a browser does not send the cookie, each with its remedy."""
    url, page = target.parts, urlsplit(target.origin)
    host, page_host = url.hostname or "", page.hostname or ""
    path = settings.SESSION_COOKIE_PATH
    if not _path_matches(url.path, path):
        yield (
            f"SESSION_COOKIE_PATH is {path!r}, and the path of the socket, {url.path!r}, is not below it",
            f"Set SESSION_COOKIE_PATH = '/', or route the socket below {path!r}.",
        )
    domain = settings.SESSION_COOKIE_DOMAIN
    if domain is None and host != page_host:
        yield (
            f"without SESSION_COOKIE_DOMAIN the cookie belongs to {page_host} alone, and the socket's host is {host}",
            "Serve the socket from the host of the pages, or set SESSION_COOKIE_DOMAIN to the domain of both.",
        )
    elif domain is not None and not _domain_matches(host, domain):
        yield (
            f"SESSION_COOKIE_DOMAIN is {domain!r}, which the socket's host {host} does not belong to",
            "Set SESSION_COOKIE_DOMAIN to a domain that the hosts of the pages and of the socket belong to.",
        )
    if settings.SESSION_COOKIE_SECURE and url.scheme == "ws" and host != "localhost":
        yield (
            "SESSION_COOKIE_SECURE is on, and the socket is not encrypted",
            "Let the pages connect to wss://, not to ws://.",
        )
    same_site = settings.SESSION_COOKIE_SAMESITE
    if same_site in ("Lax", "Strict") and not _is_same_site(page.scheme, page_host, _PAGES[url.scheme], host):
        yield (
            f"SESSION_COOKIE_SAMESITE is {same_site!r}, and for {target.origin} the socket is of another site",
            "Serve pages and socket from one site with one scheme, or log clients in with tokens; "
            "SESSION_COOKIE_SAMESITE = 'None' needs SESSION_COOKIE_SECURE and a strict list of ALLOWED_ORIGINS.",
        )
    if same_site == "None" and not settings.SESSION_COOKIE_SECURE:
        yield (
            "SESSION_COOKIE_SAMESITE is 'None' without SESSION_COOKIE_SECURE, and browsers drop such a cookie",
            "Set SESSION_COOKIE_SECURE = True.",
        )


def _path_matches(path: str, cookie_path: str) -> bool:
    return path == cookie_path or path.startswith(cookie_path if cookie_path.endswith("/") else f"{cookie_path}/")


def _domain_matches(host: str, domain: str) -> bool:
    domain = domain.lstrip(".").lower()
    return host == domain or host.endswith(f".{domain}")


def _is_same_site(scheme: str, host: str, other_scheme: str, other_host: str) -> bool:
    if scheme != other_scheme:
        return False
    if host == other_host:
        return True
    # Browsers compare by the list of public suffixes. Without it, two hosts below one name of two labels are taken for
    # one site, which is wrong for few, such as two sites below co.uk.
    return not _is_address(host) and "." in host and host.split(".")[-2:] == other_host.split(".")[-2:]


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
