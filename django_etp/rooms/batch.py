"""The events of one transaction on their way to other processes, and to the members in this one.

Rules kept here:

- Of two batches of one thread, and of what it sends after them, each member gets the first one's events first.
- A long batch lets the event loop turn, and waits for the layer at intervals.
- If the layer fails, the rest is sent without waiting for it: members in this process get it all.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace

from django_etp.concurrency.confirmations import Confirmation
from django_etp.exceptions import LayerUnavailable
from django_etp.hub import histories
from django_etp.hub.batches import Send
from django_etp.hub.hub import Hub
from django_etp.hub.publishing import report_sent
from django_etp.signals import room_sent

__all__ = ["LONGEST_WAIT", "Batch"]

logger = logging.getLogger(__name__)

# How long a later send of the thread waits for a batch, in seconds: as long as the layer may take for an event.
LONGEST_WAIT = 7.0
# A longer batch waits for the layer after this many events, and lets the loop turn after as many deliveries.
_EVENTS_AT_ONCE = 500
_DELIVERIES_PER_TURN = 2000


class Batch:
    """The events of one transaction on their way. All but the waits runs on the hub's event loop.

    Args:
        hub: the hub that sends them.
        sends: the events.
        previous: the batch before this one in the same thread.
        ended: is called with the batch, and an error if the layer has not taken all of it, when it is over.

    Attributes:
        groups: the groups that it was sent through at last.
        size: how many characters the events have.
        over: done once the layer has taken it, or has failed.
    """

    def __init__(
        self,
        hub: Hub,
        sends: list[Send],
        previous: "Batch | None",
        ended: "Callable[[Batch, Exception | None], None]",
    ) -> None:
        self.hub = hub
        self.sends = sends
        self.size = sum(len(send.text) for send in sends)
        self.groups: list[str] = []
        self._ended = ended
        self._previous = previous
        self._next: Batch | None = None
        self.over: Future[None] = Future()
        self._begun: Future[None] = Future()
        self._steps = self._send()
        self._unconfirmed = 0
        self._is_waiting = False
        self._error: Exception | None = None

    def wait_until_begun(self, timeout: float = LONGEST_WAIT) -> bool:
        """Wait until all its events are on their way, for ``timeout`` seconds at most; return whether they are.

        A later send overtakes none of them then.
        """
        with suppress(TimeoutError):
            self._begun.result(timeout)
        return self._begun.done()

    def wait_until_over(self, timeout: float = LONGEST_WAIT) -> bool:
        """Wait until the layer has taken it, or has failed, for ``timeout`` seconds at most; return whether it has."""
        with suppress(TimeoutError):
            self.over.result(timeout)
        return self.over.done()

    def begin(self) -> None:
        """Send it; if the thread's batch before it is not all on its way, after that."""
        previous, self._previous = self._previous, None
        if previous is not None and not previous.over.done():
            if not previous._begun.done():
                previous._next, self._previous = self, previous
                return
            self.groups = previous.groups
        self._go_on()

    def _go_on(self) -> None:
        try:
            for is_wait in self._steps:
                if not is_wait:
                    self.hub.loop.call_soon(self._go_on)
                    return
                if self._unconfirmed:
                    self._is_waiting = True
                    return
        except Exception as error:
            logger.exception("A batch of events could not be sent.")
            self._error = error
        self._begun.set_result(None)
        if self._next is not None:
            self._next.begin()
        if not self._unconfirmed:
            self._end()

    def _send(self) -> Iterator[bool]:
        """Send the events; yield ``False`` to let the loop turn, and ``True`` to wait for the layer."""
        deliveries = 0
        for start in range(0, len(self.sends), _EVENTS_AT_ONCE):
            if start and self._error is None:
                yield True
            sends = self.sends[start : start + _EVENTS_AT_ONCE]
            for send in sends if room_sent.receivers else ():
                report_sent(send.namespace, send.rooms, send.text)
            if histories.limits_of is not None:
                sends = list(self._keep(sends))
            if sends:
                self._publish(sends)
            for send in sends:
                members, confirmations = self.hub.batches.deliver(send)
                self._expect(confirmations)
                deliveries += 1 + members
                if deliveries >= _DELIVERIES_PER_TURN:
                    deliveries = 0
                    yield False

    def _keep(self, sends: list[Send]) -> Iterator[Send]:
        """Append events to the histories of their rooms; yield them for the other rooms."""
        for send in sends:
            try:
                rooms, confirmations = self.hub.histories.send(send.namespace, send.rooms, send.text, send.exclude)
            except LayerUnavailable as error:
                self._error = error
                continue
            self._expect(confirmations)
            if rooms:
                yield replace(send, rooms=tuple(rooms))

    def _publish(self, sends: list[Send]) -> None:
        earlier, self.groups = self.groups, []
        for namespace in dict.fromkeys(send.namespace for send in sends):
            of_one = [send for send in sends if send.namespace == namespace]
            groups, beside = self.hub.batches.route(of_one)
            self.groups += groups
            try:
                self._expect(dict.fromkeys(self.hub.batches.publish(of_one, groups, [*beside, *earlier])))
            except LayerUnavailable as error:
                self._error = error

    def _expect(self, confirmations: Iterable[Confirmation]) -> None:
        for confirmation in confirmations:
            self._unconfirmed += 1
            confirmation.notify(self._record)

    def _record(self, error: Exception | None) -> None:
        self._unconfirmed -= 1
        self._error = self._error or error
        if self._unconfirmed:
            return
        if self._is_waiting:
            self._is_waiting = False
            self._go_on()
        elif self._begun.done():
            self._end()

    def _end(self) -> None:
        self._ended(self, self._error)
        self.sends = []
        self.over.set_result(None)
