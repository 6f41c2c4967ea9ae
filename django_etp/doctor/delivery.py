"""Whether events reach connections in other processes: from each server process, and from this command."""

import asyncio
import secrets
import time
from dataclasses import dataclass

from django_etp.client.probe import Probe
from django_etp.exceptions import EtpError
from django_etp.hub.hub import Hub
from django_etp.protocol.frames import DOCTOR, Event, encode
from django_etp.quoting import one_line
from django_etp.rooms.calls import Calls

from .asking import Clock, Interview, ask_facts, ask_to_send
from .broker import MEET, spans_processes
from .findings import Finding, failure, ok, skipped, warning
from .target import Target

__all__ = ["Met", "check_delivery", "check_reach", "meet_processes"]

# So many connections are opened to meet all processes behind a proxy, a few at a time.
_CONNECTIONS = 12
_AT_ONCE = 4
# How long an event may take, in seconds.
_LIMIT = 3.0


@dataclass(frozen=True, slots=True)
class Met:
    """A connection, and the answers of its process."""

    probe: Probe
    interview: Interview

    @property
    def name(self) -> str:
        """The name of the process, for people."""
        return str(self.interview.as_process())


async def meet_processes(target: Target, origin: str | None, nonce: str, clock: Clock) -> list[Met]:
    """Open connections until all processes behind a proxy are likely to have one; the caller closes them."""
    turns = asyncio.Semaphore(_AT_ONCE)

    async def meet() -> Met | None:
        async with turns:
            probe = await target.open(origin)
            if not isinstance(probe, Probe):
                return None
            return Met(probe, await ask_facts(probe, nonce, clock, target.timeout))

    return [met for met in await asyncio.gather(*(meet() for _ in range(_CONNECTIONS))) if met is not None]


async def check_delivery(met: list[Met], clock: Clock) -> Finding:
    """Let each process send an event to a connection of each other one."""
    expected = "events reach the connections of all server processes"
    named = _one_of_each(met)
    if not named:
        return skipped("delivery", expected, "not examined, since the server does not send the ids of connections")
    if len(named) < 2:
        return ok("delivery", expected, "one server process was met")
    local = [
        each.name for each in named.values() if each.interview.process and not each.interview.process.spans_processes
    ]
    if local:
        return failure(
            "delivery",
            expected,
            f"{len(named)} server processes were met, and the channel layer of {', '.join(sorted(local))} is in memory "
            "or missing: each of them reaches its own connections alone",
            "Set CHANNEL_LAYERS to a layer that spans processes, such as "
            "channels_redis.pubsub.RedisPubSubChannelLayer, or start one process.",
        )
    senders = [each for each in named.values() if each.interview.process is not None]
    if not senders:
        return skipped("delivery", expected, "not examined, since no process has told its facts")
    start = time.perf_counter()
    problems = [problem for sender in senders if (problem := await _send_from(sender, named, clock))]
    took = (time.perf_counter() - start) / len(senders)
    if problems:
        return failure("delivery", expected, one_line("; ".join(problems), 500), MEET)
    came = f"they do, between {len(named)} processes, within {took * 1000:.0f} ms"
    return ok("delivery", expected, came, processes=len(named), seconds=took)


async def check_reach(met: list[Met]) -> Finding:
    """Send an event from this process to a connection of each server process, as commands and task workers do."""
    expected = "events that this command sends reach the connections of all server processes"
    named = _one_of_each(met)
    known = {hub: each for hub, each in named.items() if each.interview.connection is not None}
    if not known:
        return skipped("senders", expected, "not examined, since no process has told its facts")
    if not spans_processes():
        return warning(
            "senders",
            expected,
            "the channel layer of this command is in memory or missing, so commands and task workers reach no client",
            "Give them and the servers a layer that spans processes, unless one server process is all that sends.",
        )
    nonce = secrets.token_hex(8)
    problem = ""
    start = time.perf_counter()
    for each in known.values():
        facts = each.interview.connection
        assert facts is not None
        try:
            frame = encode(Event(DOCTOR, 0, nonce))
            await Calls(facts.namespace).asend(Hub.send_to, each.probe.id, frame, timeout=_LIMIT)
        except EtpError as error:
            problem = one_line(str(error), 200)
    missing = await _missing(list(known.values()), nonce)
    took = time.perf_counter() - start
    if not missing:
        return ok("senders", expected, f"they do, within {took * 1000:.0f} ms", seconds=took)
    came = f"nothing reaches {', '.join(sorted(missing))}" + (f" ({problem})" if problem else "")
    return failure("senders", expected, came, MEET)


async def _send_from(sender: Met, named: dict[str, Met], clock: Clock) -> str:
    """Let a process send an event to a connection of each other one; return the problem, ``""`` if there is none."""
    nonce = secrets.token_hex(8)
    receivers = [each for hub, each in named.items() if hub != sender.interview.hub]
    problem = await ask_to_send(sender.probe, nonce, [each.probe.id for each in receivers], clock, 2 * _LIMIT)
    missing = await _missing(receivers, nonce)
    if not missing:
        return ""
    text = f"nothing that {sender.name} sends reaches {', '.join(sorted(missing))}"
    return f"{text} ({problem})" if problem else text


async def _missing(receivers: list[Met], nonce: str) -> list[str]:
    arrived = await asyncio.gather(*(each.probe.has_received(DOCTOR, nonce, _LIMIT) for each in receivers))
    return [each.name for each, has_arrived in zip(receivers, arrived, strict=True) if not has_arrived]


def _one_of_each(met: list[Met]) -> dict[str, Met]:
    """Return a connection of each process, by the id of its hub."""
    return {each.interview.hub: each for each in met if each.interview.hub}
