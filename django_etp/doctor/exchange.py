"""The subprotocol and the compression of a connection, and a round trip over it."""

import asyncio
from statistics import median

from django_etp.client.probe import Probe
from django_etp.exceptions import AckTimeout, ConnectionClosed
from django_etp.protocol.frames import ROOMS_SUBPROTOCOL

from .findings import Finding, failure, ok, warning
from .handshakes import refusal_remedy
from .target import Target

__all__ = ["check_compression", "check_round_trip", "check_subprotocol"]

_PINGS = 5
# In seconds.
_SLOW = 1.0
# More than the buffers of proxies hold: each ping and each answer is some 20 bytes.
_FLOOD = 4000


def check_subprotocol(probe: Probe) -> Finding:
    """Judge the subprotocol that the server has selected."""
    expected = f"the server selects {ROOMS_SUBPROTOCOL}"
    if probe.subprotocol == ROOMS_SUBPROTOCOL:
        return ok("subprotocol", expected, "it did")
    return failure(
        "subprotocol",
        expected,
        f"it selected {probe.subprotocol or 'none'}",
        "A proxy or a middleware removes the header Sec-WebSocket-Protocol, another application answers at this "
        "address, or the server has an old version of django_etp. Clients then get no failures, rooms and streams.",
    )


def check_compression(probe: Probe) -> Finding:
    """Judge the compression that the server has negotiated with a client that makes the offers of a browser."""
    expected = "no compression that keeps a window for each connection"
    offered = probe.extensions.lower()
    if "permessage-deflate" not in offered:
        return ok("compression", expected, "none was negotiated")
    if "server_no_context_takeover" in offered:
        return ok("compression", expected, f"{probe.extensions}: nothing is kept")
    return warning(
        "compression",
        expected,
        f"compression is on: {probe.extensions}",
        "Start uvicorn with --ws django_etp.uvicorn:Protocol, or with --ws-per-message-deflate false, unless your "
        "messages are large: a connection takes 54 KB in place of 20, and each message is compressed for each member.",
    )


async def check_round_trip(target: Target, probe: Probe) -> Finding:
    """Ping the server; if no answer comes, look for a proxy that keeps messages until its buffer is full."""
    expected = f"an answer to a ping within {_SLOW:g} s"
    try:
        took = [await probe.ping(target.timeout) for _ in range(_PINGS)]
    except ConnectionClosed:
        return await _closed(target, probe, expected)
    except AckTimeout:
        return await _look_for_buffers(probe, expected, target.timeout)
    middle = median(took)
    came = f"{middle * 1000:.1f} ms (median of {_PINGS})"
    if middle <= _SLOW:
        return ok("round trip", expected, came, seconds=middle)
    remedy = "The way is slow, a proxy holds messages back, or the event loop of the server is blocked by other work."
    return warning("round trip", expected, came, remedy, seconds=middle)


async def _closed(target: Target, probe: Probe, expected: str) -> Finding:
    disconnect = await probe.ended(1.0)
    code = 1006 if disconnect is None else disconnect.code
    came = f"the connection was accepted, then closed with {code} {'' if disconnect is None else disconnect.reason}"
    if code in (4401, 4403):
        return failure("round trip", expected, came.rstrip(), refusal_remedy(target))
    remedy = "The server, its on_connect hook or a proxy closes the connection: look into their logs."
    return failure("round trip", expected, came.rstrip(), remedy)


async def _look_for_buffers(probe: Probe, expected: str, timeout: float) -> Finding:
    answers = await asyncio.gather(*(probe.ping(timeout) for _ in range(_FLOOD)), return_exceptions=True)
    answered = sum(1 for answer in answers if not isinstance(answer, BaseException))
    if answered:
        return failure(
            "round trip",
            expected,
            f"none within {timeout:g} s, and {answered:,} answers once {_FLOOD:,} more pings were on their way",
            "A proxy buffers: it passes messages on only when much has come. Turn its buffering off for this path "
            "(nginx: proxy_buffering off; proxy_request_buffering off;), and that of scanners and CDNs on the way.",
        )
    return failure(
        "round trip",
        expected,
        f"no answer to any ping within {timeout:g} s, although the handshake succeeded",
        "A proxy answers the handshake and passes no messages on, or the event loop of the server is blocked.",
    )
