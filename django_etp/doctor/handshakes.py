"""The handshake: whether pages of the site may connect, and pages of other sites may not."""

from dataclasses import dataclass

from django_etp.client.probe import Probe, Refusal
from django_etp.conf import get_settings

from .findings import Finding, failure, ok, skipped, warning
from .target import Target

__all__ = ["Handshake", "check_origin", "refusal_remedy", "shake_hands"]

# No page has this origin: the domain is reserved (RFC 6761).
_FOREIGN = "https://etp-doctor.invalid"

_UPGRADE = (
    "The request arrived as a plain HTTP request. Let the proxy pass the upgrade on (nginx: proxy_http_version 1.1; "
    'proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade";), check that the path of the URL '
    "is the one in asgi.py, and that an ASGI server serves it, not a WSGI server."
)
_REFUSED = (
    "An on_connect hook or a middleware refuses this client: pass --user with the name of a user who may connect, "
    "--cookie NAME=VALUE of a session, or --token. If the server's log names no refusal, look at proxies and firewalls."
)
_LOGIN_REFUSED = (
    "The server does not take the login that was given, or this user may not connect. The cookie or the token has "
    "expired or belongs to another site, or the server has another SECRET_KEY or another store of sessions than this "
    "command. The server's log may name the reason."
)
_REMEDIES = {
    500: "asgi.py has no route for this path, or the application failed: look into the server's log.",
    502: "The proxy reaches no server: check that the servers run, and the addresses in the proxy's upstream.",
    503: "The server is ending, its on_connect hooks failed, or the proxy has no server left: look into the logs.",
    504: "The server did not answer the proxy in time: look into the server's log.",
}
_NO_ANSWER = "Check the address, the port, the firewall, the certificate, and that the server runs."


@dataclass(frozen=True, slots=True)
class Handshake:
    """How the handshakes went.

    Attributes:
        probe: an open connection, with the origin of the site's pages if that was accepted; ``None`` if none was.
        refusal: why a page of the site was refused; ``None`` if it was not.
        finding: the outcome of the handshake itself, with any origin.
    """

    probe: Probe | None
    refusal: Refusal | None
    finding: Finding


async def shake_hands(target: Target) -> Handshake:
    """Connect as a page of the site; if that is refused with 403, without an origin, so that the reason shows."""
    expected = f"HTTP 101 for {target.url}"
    opened = await target.open(target.origin)
    if isinstance(opened, Probe):
        return Handshake(opened, None, _accepted(expected, opened))
    without = await target.open(None) if opened.status == 403 else opened
    if isinstance(without, Probe):
        return Handshake(without, opened, _accepted(expected, without))
    if opened.status in (401, 403):
        remedy = refusal_remedy(target)
    else:
        remedy = _NO_ANSWER if opened.status is None else _REMEDIES.get(opened.status, _UPGRADE)
    return Handshake(None, opened, failure("handshake", expected, opened.text, remedy))


def refusal_remedy(target: Target) -> str:
    """Return the remedy for a client that the server refuses."""
    return _LOGIN_REFUSED if target.is_given_login else _REFUSED


async def check_origin(target: Target, handshake: Handshake, host: str | None) -> Finding:
    """Judge which pages may connect; ``host`` is the Host header that the server received, if that is known."""
    expected = f"pages of {target.origin} may connect, and pages of other sites may not"
    if handshake.probe is None:
        return skipped("origin", expected, "not examined, since the handshake failed")
    if handshake.refusal is not None:
        return failure(
            "origin", expected, f"{target.origin} was refused: {handshake.refusal.text}", _rule(target, host)
        )
    foreign = await target.open(_FOREIGN)
    if isinstance(foreign, Refusal):
        return ok("origin", expected, f"HTTP 101 for {target.origin}, {foreign.text} for {_FOREIGN}")
    await foreign.close()
    is_wanted = get_settings().allowed_origins == "*"
    return (warning if is_wanted else failure)(
        "origin",
        expected,
        f"{_FOREIGN} was accepted, too" + (": ETP['ALLOWED_ORIGINS'] is '*'" if is_wanted else ""),
        "List the origins of your pages in ETP['ALLOWED_ORIGINS'], and look for allowed_origins='*' of a route. As it "
        "is, any page can connect with the cookies of its visitors, unless all clients log in with tokens.",
    )


def _accepted(expected: str, probe: Probe) -> Finding:
    return ok("handshake", expected, f"HTTP 101 in {probe.opened_in * 1000:.0f} ms")


def _rule(target: Target, host: str | None) -> str:
    if host is not None and host.lower() != target.host.lower():
        return (
            f"The server received the Host header {host!r} in place of {target.host!r}. Let the proxy pass it on with "
            "its port (nginx: proxy_set_header Host $http_host;), or list the origin in ETP['ALLOWED_ORIGINS']."
        )
    return (
        f"List {target.origin!r} in ETP['ALLOWED_ORIGINS'], and look at allowed_origins of the route. If this is not "
        "the origin of your pages, pass --origin."
    )
