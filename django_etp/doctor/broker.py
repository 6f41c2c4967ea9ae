"""A round trip through the broker, and the processes that it reaches."""

import asyncio
import secrets
import time
from contextlib import suppress
from typing import cast

from channels.layers import InMemoryChannelLayer, channel_layers

from django_etp.cluster.messages import Echo, Message, pack
from django_etp.cluster.transport import Reading, Transport
from django_etp.conf import get_settings
from django_etp.conf.layer_names import channel_prefix
from django_etp.exceptions import IncompleteAnswer, LayerUnavailable, describe
from django_etp.hub.process import process_hub
from django_etp.quoting import one_line
from django_etp.rooms.calls import Calls

from .asking import Clock
from .clocks import skew
from .comparison import Process
from .facts import ProcessFacts
from .findings import Finding, failure, ok, skipped, warning
from .processes import DescribeProcesses

__all__ = ["MEET", "check_broker", "check_reached", "find_processes", "spans_processes"]

MEET = (
    "Give all processes one channel layer: the same broker in CHANNEL_LAYERS, the same 'prefix', the same "
    "ETP['CHANNEL_LAYER'] and ETP['SITE']."
)
# In seconds.
_LIMIT = 5.0
_SLOW = 1.0
_AGAIN = 0.2
_MESSAGES = 3


def spans_processes() -> bool:
    """Return whether the channel layer of this process can reach others."""
    alias = get_settings().channel_layer
    return alias in channel_layers and not isinstance(channel_layers[alias], InMemoryChannelLayer)


async def check_broker(limit: float = _LIMIT) -> Finding:
    """Send a message through the broker, to a group that only this process is in; it has ``limit`` seconds."""
    alias = get_settings().channel_layer
    expected = f"a message through the channel layer {alias!r} is back within {_SLOW:g} s"
    if not spans_processes():
        return ok("broker", expected, "there is no broker: the layer is missing, or in memory")
    try:
        async with asyncio.timeout(limit):
            took = await _round_trip(alias)
    except Exception as error:  # a layer may raise anything
        came = f"nothing within {limit:g} s" if isinstance(error, TimeoutError) else one_line(describe(error), 200)
        return failure(
            "broker",
            expected,
            came,
            "Check that the broker runs, the address and the password in CHANNEL_LAYERS, and that this machine may "
            "connect to it.",
        )
    came = f"after {took * 1000:.1f} ms"
    if took <= _SLOW:
        return ok("broker", expected, came, seconds=took)
    return warning("broker", expected, came, "The broker or the way to it is slow or overloaded.", seconds=took)


async def find_processes(nonce: str, clock: Clock) -> tuple[list[Process], str]:
    """Return the server processes that the broker reaches, and the problem if there is one, else ``""``."""
    hub = process_hub() if spans_processes() else None
    if hub is None:
        return [], ""
    asked_at, problem = clock(), ""
    facts: list[ProcessFacts] = []
    try:
        facts = await Calls("default").aask(DescribeProcesses("", nonce), None)
    except IncompleteAnswer as error:
        facts, problem = cast(list[ProcessFacts], error.answer), one_line(str(error), 300)
    except LayerUnavailable as error:
        problem = one_line(str(error), 300)
    answered_at = clock()
    return [
        Process(each.hub, None, skew(asked_at, answered_at, each.now), each) for each in facts if each.hub != hub.id
    ], problem


def check_reached(reached: list[Process], problem: str, met: list[Process]) -> Finding:
    """Judge which server processes the broker has reached.

    ``problem`` is that of find_processes(); ``met`` are those that have a connection of this command.
    """
    expected = "the broker brings the queries of this command to the server processes"
    if not spans_processes():
        return skipped("cluster", expected, "not examined: there is no broker")
    known = {"", *(process.hub for process in reached)}
    missing = sorted(str(process) for process in met if process.hub not in known)
    if missing:
        came = f"{len(reached)} answered, and {', '.join(missing)} did not" + (f": {problem}" if problem else "")
        return failure("cluster", expected, came, MEET)
    if problem:
        remedy = "Look into the logs of the server processes: one is busy, paused, has ended, or has an old version."
        return warning("cluster", expected, problem, remedy)
    if not reached:
        reason = "no process answers: none has a connection, or all have another channel layer"
        return skipped("cluster", expected, reason)
    return ok("cluster", expected, f"{len(reached)} answered", processes=len(reached))


async def _round_trip(alias: str) -> float:
    """Return how long a message took, the fastest of some, in seconds.

    The first ones may be lost, since a join may take effect later than it returns.
    """
    name = secrets.token_hex(8)
    group = f"{channel_prefix()}.doctor.{name}"
    back: dict[int, float] = {}
    arrived = asyncio.Event()

    def take(message: Message) -> None:
        if isinstance(message, Echo) and message.hub == name:
            back.setdefault(message.number, time.perf_counter())
            arrived.set()

    transport = Transport(alias)
    sent: list[float] = []
    try:
        await transport.open(Reading(take, lambda: None), None)
        await transport.add_control(group)
        while len(back) < _MESSAGES:
            arrived.clear()
            sent.append(time.perf_counter())
            await transport.send_control(group, pack(Echo(name, len(sent) - 1)))
            with suppress(TimeoutError):
                async with asyncio.timeout(_AGAIN * len(sent)):
                    await arrived.wait()
        await transport.discard_control(group)
    finally:
        await transport.close()
    return min(at - sent[number] for number, at in back.items())
