"""The examination of a deployment: all checks, in their order.

Rules kept here:

- A check is skipped, with the reason, if it depends on one that has failed.
- Each connection is closed, however the examination ends.
- Nothing is sent to the connections of clients.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import aclosing, nullcontext
from dataclasses import dataclass

from django_etp.client.probe import Probe

from .asking import Clock, Interview, ask_facts
from .broker import check_broker, check_reached, find_processes
from .comparison import Process, compare
from .cookies import check_cookie_rules
from .delivery import Met, check_delivery, check_reach, meet_processes
from .exchange import check_compression, check_round_trip, check_subprotocol
from .findings import Finding, Status, skipped
from .handshakes import Handshake, check_origin, shake_hands
from .load import MOST_CONNECTIONS, check_load
from .sessions import check_session, stored_session, uses_sessions
from .settings import check_settings
from .silence import check_silence
from .static import check_static
from .target import InvalidTarget, Target, make_target

__all__ = ["Plan", "examine", "run"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The parts and the limits of an examination.

    Attributes:
        target: the server; ``None`` to examine the inside alone.
        idle: for how many seconds a quiet connection must stay open.
        load: how many connections to open at a time at the end; 0 for none.
        session_problem: why no session was stored for the examination; ``""`` if one was.
        clock: the clock of this process.
    """

    target: Target | None = None
    idle: float = 30.0
    load: int = 0
    session_problem: str = ""
    clock: Clock = time.time


def run(
    url: str | None,
    *,
    origin: str | None = None,
    cookies: Mapping[str, str] | None = None,
    user: str | None = None,
    token: str | None = None,
    idle: float = 30.0,
    timeout: float = 10.0,
    load: int = 0,
    show: Callable[[Finding], None],
) -> list[Finding]:
    """Examine the deployment at a URL, or its inside if there is none; return the findings.

    Args:
        url: the address of the socket.
        origin: the origin of the site's pages; by default that of the URL.
        cookies: the cookies of a user; by default that of a session which is stored for the examination.
        user: the name of the user whom that session belongs to; by default it is anonymous.
        token: a token to log in with.
        idle: for how many seconds a quiet connection must stay open; 0 to skip this.
        timeout: how long the server may take for each step, in seconds.
        load: how many connections to open at a time.
        show: is called with each finding as soon as it is known.

    Raises:
        InvalidTarget: an argument does not fit.
    """
    if not (0 <= load <= MOST_CONNECTIONS and timeout > 0 and idle >= 0):
        raise InvalidTarget(f"Expected seconds above 0, and a load of up to {MOST_CONNECTIONS:,} connections.")
    if url is None:
        return asyncio.run(_collect(Plan(), show))
    make_target(url, origin=origin)  # before a session is stored
    has_credentials = bool(cookies or token)
    is_given_login = has_credentials or user is not None
    with nullcontext((dict(cookies or {}), "")) if has_credentials else stored_session(user) as (shown, problem):
        if user is not None and problem:
            raise InvalidTarget(f"No session of the user {user!r:.80} could be stored: {problem}.")
        target = make_target(
            url, origin=origin, cookies=shown, token=token, is_given_login=is_given_login, timeout=timeout
        )
        return asyncio.run(_collect(Plan(target=target, idle=idle, load=load, session_problem=problem), show))


async def examine(plan: Plan) -> AsyncGenerator[Finding, None]:
    """Yield the findings, each as soon as it is known."""
    nonce = secrets.token_hex(8)
    for finding in await asyncio.to_thread(check_settings):
        yield finding
    broker = await check_broker()
    yield broker
    reaches = broker.status is not Status.FAILURE
    target = plan.target
    if target is None:
        async for finding in _examine_by_broker(plan, nonce, reaches=reaches):
            yield finding
        return
    yield await check_static(target)
    handshake = await shake_hands(target)
    yield handshake.finding
    if handshake.probe is None:
        async for finding in _examine_by_broker(plan, nonce, reaches=reaches):
            yield finding
        return
    try:
        async for finding in _examine_connection(plan, target, handshake, handshake.probe, nonce, reaches=reaches):
            yield finding
    finally:
        await handshake.probe.close()


async def _collect(plan: Plan, show: Callable[[Finding], None]) -> list[Finding]:
    findings = []
    async with aclosing(examine(plan)) as found:
        async for finding in found:
            findings.append(finding)
            show(finding)
    return findings


async def _examine_connection(
    plan: Plan, target: Target, handshake: Handshake, probe: Probe, nonce: str, *, reaches: bool
) -> AsyncIterator[Finding]:
    """Make the checks that need an open connection; ``reaches``: the broker answers."""
    origin = None if handshake.refusal else target.origin
    silence = asyncio.ensure_future(check_silence(target, origin, plan.idle))
    try:
        yield check_subprotocol(probe)
        yield check_compression(probe)
        round_trip = await check_round_trip(target, probe)
        yield round_trip
        passes = round_trip.status is not Status.FAILURE
        interview = Interview("", "the round trip failed")
        if passes:
            interview = await ask_facts(probe, nonce, plan.clock, target.timeout)
        yield await check_origin(target, handshake, interview.connection.host if interview.connection else None)
        if target.token is None and uses_sessions():
            yield check_cookie_rules(target)
        for finding in check_session(target, interview, plan.session_problem):
            yield finding
        if not passes:
            async for finding in _examine_by_broker(plan, nonce, reaches=reaches):
                yield finding
            yield skipped("delivery", "events reach all connections", "not examined, since the round trip failed")
            return
        async for finding in _examine_processes(plan, target, origin, nonce, Met(probe, interview), reaches=reaches):
            yield finding
        yield await silence
        if plan.load:
            yield await check_load(target, origin, plan.load)
    finally:
        silence.cancel()
        await asyncio.gather(silence, return_exceptions=True)


async def _examine_by_broker(plan: Plan, nonce: str, *, reaches: bool) -> AsyncIterator[Finding]:
    """Examine the processes without a connection to them."""
    if not reaches:
        return
    reached, problem = await find_processes(nonce, plan.clock)
    yield check_reached(reached, problem, [])
    for finding in compare(reached, nonce) if reached else ():
        yield finding


async def _examine_processes(
    plan: Plan, target: Target, origin: str | None, nonce: str, first: Met, *, reaches: bool
) -> AsyncIterator[Finding]:
    """Examine the processes behind the address, while there is a connection to each."""
    others = await meet_processes(target, origin, nonce, plan.clock)
    try:
        met = [first, *others]
        by_socket = list(_by_socket(met))
        reached: list[Process] = []
        if reaches:
            reached, problem = await find_processes(nonce, plan.clock)
            yield check_reached(reached, problem, by_socket)
        for finding in compare([*by_socket, *reached], nonce):
            yield finding
        yield await check_delivery(met, plan.clock)
        if reaches:
            yield await check_reach(met)
    finally:
        await asyncio.gather(*(each.probe.close() for each in others))


def _by_socket(met: list[Met]) -> Iterator[Process]:
    """Yield each process that was met, once."""
    for interview in {each.interview.hub: each.interview for each in met}.values():
        yield interview.as_process()
