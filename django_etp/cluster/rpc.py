"""Queries to other nodes, and when their replies are complete.

Rules kept here:

- A query to all comes back to its sender. By then the sender has received the heartbeat of every node that announced
  itself before the query was sent: so a connection that was accepted by then is not missed.
- A query is complete once a reply came from every node that the sender knows, or that a reply names; nodes that the
  sender knows to be gone do not count.
- A sender so new that others may not have answered its first heartbeat wants a receipt from each node that the query
  reaches, however long the reply takes. If it knows no node, it waits half a second for one, and then there is none. If
  the query is about one connection, whose id names a hub, it waits two.
- A node whose heartbeat is late when it is queried is probably dead, or paused: it is to send a receipt, too. If none
  comes within a second, or a quarter of the timeout if that is longer, and its heartbeat is late still, the query
  ends without it, as incomplete as if the time had passed.
- That time counts from when the query, or a copy of it, is back at its sender: a sender that receives nothing itself
  gives up no node.
- A query that is not complete in time raises ``IncompleteAnswer`` with the results that did come.
"""

import asyncio
import math
import secrets
from collections.abc import Callable, Coroutine
from typing import Any

from django_etp.exceptions import IncompleteAnswer, LayerUnavailable, describe

from .messages import Query, Receipt, Reply

__all__ = ["Queries"]

_WAIT_FOR_ANY = 0.5
_WAIT_FOR_ONE = 2.0
# How long to wait for the receipt of a node whose heartbeat is late: so many seconds, or this share of the timeout.
_WAIT_FOR_RECEIPT = 1.0
_SHARE_FOR_RECEIPT = 0.25


class _Pending:
    """One query under way."""

    __slots__ = (
        "changed",
        "expected",
        "failures",
        "given_up",
        "is_to_all",
        "knows_all",
        "results",
        "returned_at",
        "sent_at",
        "wait_for_receipt",
        "with_receipt",
    )

    def __init__(self, expected: frozenset[str], *, is_to_all: bool, knows_all: bool, wait_for_receipt: float) -> None:
        self.expected = set(expected)
        self.is_to_all = is_to_all
        self.knows_all = knows_all
        self.wait_for_receipt = wait_for_receipt  # infinite if no receipts are wanted
        self.sent_at: float | None = None  # of a query to all, when it came back
        self.returned_at: float | None = None  # of a copy of a query to one, too
        self.with_receipt: set[str] = set()
        self.results: dict[str, Any] = {}
        self.failures: dict[str, str] = {}
        self.given_up: set[str] = set()
        self.changed = asyncio.Event()

    @property
    def is_complete(self) -> bool:
        ended = self.results.keys() | self.failures.keys() | self.given_up
        return self.sent_at is not None and (bool(ended) or self.knows_all) and self.expected <= ended

    def check(self, action: str, timeout: float, waited: float) -> None:
        """Raise ``IncompleteAnswer`` if a result is missing; ``waited`` are the seconds since the query began."""
        if missing := self.expected - self.results.keys():
            reasons = sorted(set(self.failures.values()))
            within = timeout
            if given_up := missing & self.given_up:
                reasons.append(f"no heartbeat of {len(given_up)} when it was due, nor a receipt of the query")
                within = round(waited, 1)
            raise IncompleteAnswer(
                f"{len(missing)} of {len(self.expected)} processes sent no result of {action!r} within {within:g} s"
                f"{': ' + '; '.join(reasons) if reasons else ''}. The other results are in .answer.",
                answer=self.results,
            )
        if self.sent_at is None:
            raise IncompleteAnswer(
                f"The query {action!r} did not come back to its sender within {timeout:g} s: the channel layer may not "
                "have brought it to others either. The results so far are in .answer.",
                answer=self.results,
            )


class Queries:
    """The queries that one node has sent.

    Args:
        own_id: the id of the node's hub, which others may name, and which need not reply.
        send: sends a query to one node by its hub's id, or to all (``None``).
        reply_group: the node's group for replies.
        is_gone: whether the node of a hub's id went lately: others may still name it.
    """

    def __init__(
        self,
        own_id: str,
        send: Callable[[str | None, Query], Coroutine[Any, Any, None]],
        reply_group: str,
        is_gone: Callable[[str], bool],
    ) -> None:
        self._own_id = own_id
        self._send = send
        self._reply_group = reply_group
        self._is_gone = is_gone
        self._pending: dict[str, _Pending] = {}

    async def ask(
        self,
        hub: str | None,
        known: frozenset[str],
        action: str,
        arguments: list[Any],
        timeout: float,
        *,
        late: frozenset[str] = frozenset(),
        knows_all: bool = False,
        expects_one: bool = False,
    ) -> dict[str, Any]:
        """Query one node, or all, and return the results by hub id; ``None`` is that of a node that went meanwhile.

        ``late`` are the nodes whose heartbeat is late now. ``knows_all`` means that the sender has received heartbeats
        for long enough to know all nodes, ``expects_one`` that some node, unknown as yet, should have a result.

        Raises:
            IncompleteAnswer: some did not reply within ``timeout`` seconds, or failed; ``answer`` holds the others'
                results.
            LayerUnavailable: the query could not be sent within that time.
        """
        expected = known if hub is None else frozenset([hub])
        has_late = bool(expected & late)
        wants_receipt = has_late or (hub is None and not knows_all)
        wait_for_receipt = max(_WAIT_FOR_RECEIPT, timeout * _SHARE_FOR_RECEIPT) if wants_receipt else math.inf
        pending = _Pending(expected, is_to_all=hub is None, knows_all=knows_all, wait_for_receipt=wait_for_receipt)
        query = Query(secrets.token_hex(8), self._reply_group, action, arguments, wants_receipt)
        self._pending[query.id] = pending
        loop = asyncio.get_running_loop()
        started_at = loop.time()
        try:
            try:
                async with asyncio.timeout(timeout):
                    await self._send(hub, query)
                    if hub is not None and has_late:
                        await self._send(self._own_id, query)
            except Exception as error:
                raise LayerUnavailable(f"A query could not be sent: {describe(error)}.") from error
            if hub is not None:
                pending.sent_at = loop.time()
            await self._wait(pending, started_at + timeout, _WAIT_FOR_ONE if expects_one else _WAIT_FOR_ANY)
        finally:
            del self._pending[query.id]
        pending.check(action, timeout, loop.time() - started_at)
        return pending.results

    async def _wait(self, pending: _Pending, ends_at: float, wait_for_any: float) -> None:
        """Wait until a query is complete, or until ``ends_at``."""
        while not pending.is_complete:
            until = ends_at
            if pending.sent_at is not None and not pending.expected:
                until = min(until, pending.sent_at + wait_for_any)
            if asyncio.get_running_loop().time() >= until:
                return
            pending.changed.clear()
            try:
                async with asyncio.timeout_at(until):
                    await pending.changed.wait()
            except TimeoutError:
                continue

    def owns(self, query: Query) -> bool:
        """Whether this node sent a query."""
        return query.answer_to == self._reply_group

    def receive_own(self, id: str, known: frozenset[str]) -> None:
        """Record that a query came back; ``known`` are the nodes with connections that are known now."""
        if (pending := self._pending.get(id)) is None:
            return
        pending.returned_at = asyncio.get_running_loop().time()
        if pending.is_to_all:
            pending.expected |= known
            pending.sent_at = pending.returned_at
            pending.changed.set()

    def receive_receipt(self, receipt: Receipt | Reply) -> None:
        """Expect replies from a node that a query has reached, and from the nodes that it knows."""
        pending = self._pending.get(receipt.id)
        if pending is None:
            return
        pending.with_receipt.add(receipt.hub)
        pending.given_up.discard(receipt.hub)
        if pending.is_to_all:
            named = (hub for hub in receipt.known if isinstance(hub, str) and not self._is_gone(hub))
            pending.expected.update([receipt.hub, *named])
            pending.expected.discard(self._own_id)
            pending.changed.set()

    def receive(self, reply: Reply) -> None:
        """Record a reply; one to a query that has ended is dropped."""
        pending = self._pending.get(reply.id)
        if pending is None:
            return
        self.receive_receipt(reply)
        if reply.error:
            pending.failures[reply.hub] = reply.error
        else:
            pending.results[reply.hub] = reply.result
        pending.changed.set()

    def forget(self, hub: str) -> None:
        """Expect nothing more from a node that is gone."""
        for pending in self._pending.values():
            if hub not in pending.expected:
                continue
            if pending.is_to_all:
                pending.expected.discard(hub)
            else:
                pending.results[hub] = None
            pending.changed.set()

    def give_up(self, late: frozenset[str]) -> None:
        """Wait no longer for nodes whose heartbeat is late now, and whose receipts should have come by now."""
        now = asyncio.get_running_loop().time()
        for pending in self._pending.values():
            if pending.returned_at is not None and now - pending.returned_at >= pending.wait_for_receipt:
                pending.given_up |= (pending.expected & late) - pending.with_receipt
                pending.changed.set()
