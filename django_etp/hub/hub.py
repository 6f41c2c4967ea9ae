"""The connections and rooms of one process: one hub for each event loop that serves connections.

Rules kept here:

- A frame is encoded once, by the caller, and goes to every local member without waiting for any of them.
- Local members get a room send directly; other processes get it through the link to the channel layer.
- A room exists while it has a local member; its channel-layer group is joined with the first and left with the last.
- Nothing about membership is stored outside the process.
"""

import asyncio
import contextvars
import secrets
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from django_etp.cluster.gaps import Loss
from django_etp.cluster.links import Link, open_link
from django_etp.cluster.messages import Foreign, Frame
from django_etp.concurrency.confirmations import Confirmation, confirmed
from django_etp.concurrency.flusher import Flusher
from django_etp.exceptions import ConnectionClosed, HistoryUnavailable
from django_etp.signals import room_sent

from . import histories
from .asking import Asker
from .batches import Batches
from .delivery import deliver, deliver_frame, foreign_frame
from .emissions import Emissions
from .guests import Guest
from .histories import POSITIONED, Histories
from .living import living
from .losses import describe_loss, report_forgotten, report_lost
from .members import Member, Serving, hub_of, is_hub
from .membership import Membership
from .names import check_can_join
from .pace import Pace
from .parts import Presence
from .publishing import publish, report_sent

__all__ = ["Hub"]

# How long connections may take to clean up when the server ends, in seconds: on_disconnect hooks have 9 s.
_END_LIMIT = 10.0
_T = TypeVar("_T")


class Hub:
    """The connections of one event loop, and the rooms they are in.

    Args:
        loop: the event loop it belongs to.
        answer: answers queries; it takes the hub, an action and the action's arguments.
        is_serving: whether the hub will have connections, and does not only send and ask.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        answer: Callable[["Hub", str, list[Any]], Coroutine[Any, Any, Any]],
        *,
        is_serving: bool,
    ) -> None:
        self.id = secrets.token_hex(8)
        self.loop = loop
        # The context of the consumer that it was made for: later work runs in it, not in a request's or a handler's.
        self.context = contextvars.copy_context()
        self.flusher = Flusher(loop, self.context.copy())
        self.report: Callable[[str, Exception], Coroutine[Any, Any, None]] | None = None
        self.serving: Serving | None = None
        self.presence: Presence | None = None
        self.recheck: Callable[[list[Guest]], Coroutine[Any, Any, None]] | None = None
        self._answer = answer
        self.membership = Membership()
        self.emissions = Emissions()
        self._pace = Pace(loop)
        self._tasks: set[asyncio.Task[Any]] = set()
        self.link: Link = open_link(self, is_serving=is_serving)
        self.living: Callable[[], Callable[[str], bool]] = partial(living, self.id, self.link, self.membership)
        self.asker = Asker(self.id, self.link, self._reply_here)
        run, forgotten = self._run_in_context, partial(report_forgotten, self)
        self.histories = Histories(self.link, self.membership, self._pace, run, forgotten)
        self.batches = Batches(self.link, self.emissions, self._pace, partial(deliver, self.membership))

    async def start(self) -> None:
        """Take the place of a hub with connections among the other processes' hubs."""
        await self.link.start()

    def stop_serving(self) -> None:
        """Announce to the other processes' hubs that it has no connections any more."""
        self.link.stop_serving()

    async def leave_others(self) -> None:
        """Leave the other processes' hubs; start() may follow."""
        if self.presence is not None:
            await self.presence.hand_over()
        await self.histories.stop()
        await self.link.stop()

    async def stop(self) -> None:
        """End the connections, then leave the other processes' hubs; within a bounded time."""
        if self.serving is not None:
            await self.serving.stop()
        await self.settle(_END_LIMIT)
        await self.leave_others()

    def new_connection_id(self) -> str:
        """Return an id for a new connection: this hub's id, then 128 random bits."""
        return f"{self.id}.{secrets.token_hex(16)}"

    def run(self, coroutine: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        """Run a coroutine whatever becomes of the task that asks for it."""
        task = self.loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _run_in_context(self, coroutine: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        return self.context.copy().run(self.run, coroutine)

    async def settle(self, timeout: float) -> None:
        """Wait up to ``timeout`` seconds until all that runs by run() is done."""
        deadline = self.loop.time() + timeout
        own = {asyncio.current_task()}
        while (tasks := self._tasks - own) and (left := deadline - self.loop.time()) > 0:
            await asyncio.wait(tasks, timeout=left)

    # Membership

    def add(self, member: Member, user_id: object = None) -> None:
        """Add a new connection; enter() puts it into its first rooms."""
        self.membership.add(member, user_id)

    async def enter(self, member: Member) -> None:
        """Put a connection into the rooms that it cannot leave. This may wait for the channel layer."""
        await self.join_groups(self.membership.enter(member))

    async def change_user(self, member: Member, user_id: object) -> None:
        """Record that a connection belongs to another user from now on."""
        empty, entered = self.membership.change_user(member, user_id)
        await self._leave_groups(empty)
        await self.join_groups(entered)

    async def remove(self, member: Member) -> None:
        """Remove a connection that has ended; it leaves all its rooms."""
        await self._leave_groups(self.membership.remove(member))

    def remove_at_once(self, member: Member) -> bool:
        """Remove a connection, unless a group is left without a member, which takes remove(); return whether it did."""
        if self.membership.is_alone(member):
            return False
        self.membership.remove(member)
        return True

    async def join(self, member: Member, rooms: Iterable[str]) -> None:
        """Put a connection into rooms; it may be in them already.

        Raises:
            ConnectionClosed: the connection is gone.
            HistoryUnavailable: a room has a history, which cannot be reached; nothing was joined.
            InvalidRoomName, TooManyRooms: see check_can_join() and Membership.join(); nothing was joined.
        """
        rooms = tuple(rooms)
        for room in rooms:
            check_can_join(room)
        if member.id not in self.membership:
            raise ConnectionClosed(f"Connection {member.id} is closed and cannot join a room.")
        await self.join_groups(self.membership.join(member, rooms))
        if histories.limits_of is not None:
            try:
                await self.histories.begin(member.namespace, rooms)
            except HistoryUnavailable:
                await self.leave(member, rooms)
                raise

    async def leave(self, member: Member, rooms: Iterable[str]) -> None:
        """Take a connection out of rooms; it need not be in them."""
        rooms = tuple(rooms)
        groups = self.membership.leave(member, rooms)
        self.membership.guests.end(member.id, rooms)
        await self._leave_groups(groups)

    async def clear(self, namespace: str, rooms: Iterable[str]) -> None:
        """Take all local members out of rooms."""
        for room in rooms:
            for member in self.membership.present(namespace, [room]):
                await self.leave(member, [room])

    async def join_groups(self, groups: list[str]) -> None:
        """Join channel-layer groups, and wait until that is certain."""
        if len(groups) == 1:
            await self.link.join(groups[0])
        else:
            await asyncio.gather(*(self.link.join(group) for group in groups))

    async def _leave_groups(self, groups: list[str]) -> None:
        self.histories.end(groups)  # before another connection may enter
        for group in groups:
            await self.link.leave(group)

    # Sending

    def send(
        self, namespace: str, rooms: list[str] | None, text: str, exclude: frozenset[str], beside: Sequence[str] = ()
    ) -> list[Confirmation]:
        """Send a frame to the members of rooms, or of the whole namespace (``None``), in all processes, one copy each.

        Local members have it at once. Elsewhere it overtakes nothing that waits for the groups ``beside``. Pass the
        confirmations that are returned to sent().

        Raises:
            LayerUnavailable: it was not sent to other processes.
        """
        if room_sent.receivers:
            report_sent(namespace, rooms, text)
        kept: list[Confirmation] = []
        if rooms and histories.limits_of is not None:
            rooms, kept = self.histories.send(namespace, rooms, text, exclude)
            if not rooms:
                return kept
        targets: list[str | None] = [None] if rooms is None else [*rooms]
        members = deliver(self.membership, namespace, targets, text, exclude)
        if rooms is None or len(rooms) < 2:
            frame = Frame(text, exclude)
        else:
            frame = Frame(text, exclude, tuple(rooms), self.emissions.new())
        return kept + publish(self.link, namespace, targets, frame, beside) + self._pace.slow(members, len(text))

    def relay(self, namespace: str, rooms: list[str], frame: Frame) -> list[Confirmation]:
        """Send a stored event, which has a name that begins with RELAYED, and may be sent again. See send()."""
        if room_sent.receivers:
            report_sent(namespace, rooms, frame.text)
        rooms, kept = self.histories.send(namespace, rooms, frame.text, frame.exclude, frame.emission)
        if not rooms:
            return kept
        frame = replace(frame, rooms=tuple(rooms) if len(rooms) > 1 else ())
        is_first = self.emissions.is_first(frame.emission)
        members = deliver(self.membership, namespace, rooms, frame.text, frame.exclude) if is_first else ()
        return kept + publish(self.link, namespace, rooms, frame) + self._pace.slow(members, len(frame.text))

    def send_to(self, namespace: str, connection_id: str, text: str) -> list[Confirmation]:
        """Send a frame to one connection, in any process. See send()."""
        if self.owns(connection_id):
            if member := self.membership.get(namespace, connection_id):
                member.deliver(text)
                return self._pace.slow([member], len(text))
        elif is_hub(hub := hub_of(connection_id)):
            return self.link.publish_to_hub(hub, Frame(text, connection_id=connection_id, namespace=namespace))
        return []

    async def sent(self, sends: list[Confirmation]) -> None:
        """Wait until the channel layer has confirmed sends, and the clients of this process can take more.

        Raises:
            LayerUnavailable: other processes may not have got them.
        """
        await confirmed(sends)
        await self._pace.turn()

    def owns(self, connection_id: str) -> bool:
        """Return whether an id is that of a connection of this hub, which may be gone."""
        return hub_of(connection_id) == self.id

    # Asking

    async def ask(self, hub: str | None, action: str, *arguments: Any, timeout: float) -> list[Any]:
        """Return the replies of all hubs, or of one, to a query. See Asker.ask()."""
        return await self.asker.ask(hub, action, list(arguments), timeout)

    def _reply_here(self, action: str, arguments: list[Any]) -> asyncio.Task[Any]:
        return self._run_in_context(self._answer(self, action, arguments))

    # For the link to call

    def deliver_frame(self, group: str, frame: Frame) -> Sequence[Any]:
        """Deliver a frame from another process to local members, and return those."""
        if frame.emission.startswith(POSITIONED):
            self.histories.receive(group, frame)
            return ()
        return deliver_frame(self.membership, self.emissions, group, frame)

    def deliver_foreign(self, message: Foreign) -> None:
        """Deliver an event of other Channels code to local members.

        Raises:
            Malformed: it is not an event that can be sent.
        """
        deliver(self.membership, message.namespace, [message.room], foreign_frame(message), frozenset())

    def report_loss(self, loss: Loss) -> None:
        """Report messages that the layer lost, unless they are in the history of their room."""
        if not self.histories.check(loss.group):
            report_lost(self, describe_loss(loss, self.membership, self.presence))

    async def answer(self, action: str, arguments: list[Any]) -> Any:
        """Answer a query of another process."""
        return await self._answer(self, action, arguments)
