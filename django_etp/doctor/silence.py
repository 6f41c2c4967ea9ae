"""Whether a quiet connection stays open: proxies close those on which nothing passes."""

import time

from django_etp.client.probe import Refusal
from django_etp.exceptions import AckTimeout, ConnectionClosed
from django_etp.protocol.closing import Disconnect

from .findings import Finding, failure, ok, skipped, warning
from .target import Target

__all__ = ["check_silence"]

_TIMEOUTS = (
    "A proxy or a load balancer ends quiet connections. Let its idle timeout be longer than the ping interval of the "
    "server, which is 20 s by default (nginx: proxy_read_timeout 75s; proxy_send_timeout 75s;), or shorten that "
    "interval (uvicorn: --ws-ping-interval, daphne: --ping-interval)."
)
_LIMITS = "Look at the limits of connections in the proxy, and at ETP['MAX_CONNECTIONS_PER_USER']."
_SERVER_ENDS = frozenset({1001, 1012})


async def check_silence(target: Target, origin: str | None, seconds: float) -> Finding:
    """Open a connection, send nothing for some seconds, and look whether it is still open and answers."""
    expected = f"a connection without events is open after {seconds:g} s"
    if seconds <= 0:
        return skipped("idle timeout", expected, "not examined: --idle 0")
    probe = await target.open(origin)
    if isinstance(probe, Refusal):
        return failure("idle timeout", expected, f"no second connection: {probe.text}", _LIMITS)
    start = time.monotonic()
    try:
        if (disconnect := await probe.ended(seconds)) is not None:
            return _ended(expected, time.monotonic() - start, disconnect)
        await probe.ping(target.timeout)
    except (AckTimeout, ConnectionClosed):
        return failure("idle timeout", expected, "it seems open, but nothing passes any more", _TIMEOUTS)
    finally:
        await probe.close()
    return ok("idle timeout", expected, "it is, and answers")


def _ended(expected: str, after: float, disconnect: Disconnect) -> Finding:
    came = f"it was closed after {after:.1f} s, with {disconnect.code} {disconnect.reason}".rstrip()
    if disconnect.code == 1006:
        return failure("idle timeout", expected, f"{came} (no close frame)", _TIMEOUTS, seconds=round(after, 1))
    if disconnect.code in _SERVER_ENDS:
        return warning("idle timeout", expected, came, "The server ended meanwhile: run this again.")
    remedy = "The server closed it: look into its log, and for time limits in the application."
    return failure("idle timeout", expected, came, remedy, seconds=round(after, 1))
