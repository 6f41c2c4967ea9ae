"""The connections and rooms of one process: one hub for each event loop that serves connections.

Rules kept here:

- A frame is encoded once, by the caller, and goes to every local member without waiting for any of them.
- Local members get a room send directly; other processes get it through the link to the channel layer.
- A room exists while it has a local member; its channel-layer group is joined with the first and left with the last.
- Nothing about membership is stored outside the process.
"""

import asyncio
import contextvars
import logging
import re
import secrets
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Protocol, TypeVar, cast

from django_etp.cluster.gaps import Loss
from django_etp.cluster.links import Link, open_link
from django_etp.cluster.messages import HUB_PREFIX, Foreign, Frame, Malformed
from django_etp.concurrency.confirmations import Confirmation, confirmed
from django_etp.concurrency.flusher import Flusher
from django_etp.exceptions import ConnectionClosed, EtpError, IncompleteAnswer, MessagesLost
from django_etp.serialization import to_frame

from .members import Member
from .membership import Membership
from .names import check_can_join, group_name

__all__ = ["Hub"]

logger = logging.getLogger(__name__)

# After this many sends without a turn of the loop a sender lets the loop turn, so that readers are served meanwhile.
_SENDS_PER_TURN = 64
# A send to more rooms goes through the group of their namespace, once: through the group of each, with the names of all
# of them, it would grow with their square.
_MANY_ROOMS = 32
# Of so many sends to several rooms at once a hub remembers that it has had them.
_REMEMBERED_EMISSIONS = 4096
# How long connections may take to clean up when the server ends, in seconds: on_disconnect hooks have 9 s.
_END_LIMIT = 10.0

# What is no hub's id names no connection, and may be no group's name either.
_HUB_ID = re.compile(r"[0-9a-f]{16}")

_T = TypeVar("_T")


class Serving(Protocol):
    """The server's side of a hub; ``django_etp.server.serving`` sets it."""

    async def stop(self) -> None:
        """End the connections, within a bounded time."""


class Hub:
    """The connections of one event loop, and the rooms they are in.

    Args:
        loop: the event loop it belongs to.
        answer: answers questions of other processes: takes the hub, an action and its arguments.
        is_serving: whether it will have connections, rather than only send and ask.
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
        # Of the consumer that it was made for, and no request's or handler's: for what runs later, for nobody's sake.
        self.context = contextvars.copy_context()
        self.flusher = Flusher(loop, self.context.copy())
        self.report: Callable[[str, Exception], Coroutine[Any, Any, None]] | None = None
        self.serving: Serving | None = None
        # Keyed hashes of sessions that log out, and until when on the loop's clock.
        self.revoked: dict[str, float] = {}
        # Those who have changed, and whose connections are to be looked at.
        self.users_to_check: set[str] = set()
        self._answer = answer
        self.membership = Membership()
        self._emissions: OrderedDict[str, None] = OrderedDict()
        self._sends_since_turn = 0
        self._asking = 0
        self._has_answer = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._link: Link = open_link(self, is_serving=is_serving)

    async def start(self) -> None:
        """Take the place of a hub with connections among the other processes' hubs."""
        await self._link.start()

    def stop_serving(self) -> None:
        """Announce to the other processes' hubs that it has no connections any more."""
        self._link.stop_serving()

    async def leave_others(self) -> None:
        """Leave the other processes' hubs; start() may follow."""
        await self._link.stop()

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

    async def settle(self, timeout: float) -> None:
        """Wait up to ``timeout`` seconds until all that runs by run() is done."""
        deadline = self.loop.time() + timeout
        own = {asyncio.current_task()}
        while (tasks := self._tasks - own) and (left := deadline - self.loop.time()) > 0:
            await asyncio.wait(tasks, timeout=left)

    # Membership

    def add(self, member: Member, user_id: object = None) -> None:
        """Take in a connection that came; enter() does the rest."""
        self.membership.add(member, user_id)

    async def enter(self, member: Member) -> None:
        """Let a connection into the rooms that it cannot leave; may wait for the channel layer."""
        await self._join_groups(self.membership.enter(member))

    async def change_user(self, member: Member, user_id: object) -> None:
        """Let a connection be another user's from now on."""
        empty, entered = self.membership.change_user(member, user_id)
        await self._leave_groups(empty)
        await self._join_groups(entered)

    async def remove(self, member: Member) -> None:
        """Forget a connection that went; it leaves all its rooms."""
        await self._leave_groups(self.membership.remove(member))

    def remove_at_once(self, member: Member) -> bool:
        """Do as remove() does where others are in all its rooms, so that no group is to be left; return whether."""
        if self.membership.is_alone(member):
            return False
        self.membership.remove(member)
        return True

    async def join(self, member: Member, rooms: Iterable[str]) -> None:
        """Let a connection join rooms; it may be in them already.

        Raises:
            ConnectionClosed: the connection is gone.
            InvalidRoomName: nothing was joined.
        """
        rooms = tuple(rooms)
        for room in rooms:
            check_can_join(room)
        if member.id not in self.membership:
            raise ConnectionClosed(f"Connection {member.id} is closed and cannot join a room.")
        await self._join_groups(self.membership.join(member, rooms))

    async def leave(self, member: Member, rooms: Iterable[str]) -> None:
        """Let a connection leave rooms; it need not be in them."""
        await self._leave_groups(self.membership.leave(member, rooms))

    async def clear(self, namespace: str, rooms: Iterable[str]) -> None:
        """Let all local members leave rooms."""
        for room in rooms:
            for member in self.membership.present(namespace, [room]):
                await self.leave(member, [room])

    async def _join_groups(self, groups: list[str]) -> None:
        if len(groups) == 1:
            await self._link.join(groups[0])
        else:
            await asyncio.gather(*(self._link.join(group) for group in groups))

    async def _leave_groups(self, groups: list[str]) -> None:
        for group in groups:
            await self._link.leave(group)

    def living(self) -> Callable[[str], bool]:
        """Return a function that tells whether a connection may live, by its id, as far as is known now.

        It may be called in any thread. While this hub is new, or hears nothing, it does not know the others, and takes
        all for living.
        """
        others, members, knows_others = self._link.others, self.membership, self._link.knows_others

        def may_live(connection_id: str) -> bool:
            hub = hub_of(connection_id)
            return connection_id in members if hub == self.id else hub in others or not knows_others

        return may_live

    # Sending

    def send(self, namespace: str, rooms: list[str] | None, text: str, exclude: frozenset[str]) -> list[Confirmation]:
        """Send a frame to the members of rooms (``None``: to all of the namespace) in all processes, one copy each.

        Local members have it at once; what is returned is for sent().

        Raises:
            LayerUnavailable: it was not sent to other processes.
        """
        targets: list[str | None] = [None] if rooms is None else [*rooms]
        self._deliver(namespace, targets, text, exclude)
        if rooms is None or len(rooms) < 2:
            frame = Frame(text, tuple(exclude))
        else:
            emission = secrets.token_hex(8)
            self._is_first(emission)
            frame = Frame(text, tuple(exclude), tuple(rooms), emission)
        groups = [group_name(namespace, target) for target in targets]
        if len(targets) > _MANY_ROOMS:
            return self._link.publish([group_name(namespace, None)], frame, beside=groups)
        return self._link.publish(groups, frame)

    def send_to(self, namespace: str, connection_id: str, text: str) -> list[Confirmation]:
        """Send a frame to one connection, in whichever process it is. See send()."""
        if self.owns(connection_id):
            if member := self.membership.get(namespace, connection_id):
                member.deliver(text)
        elif _HUB_ID.fullmatch(hub := hub_of(connection_id)):
            return self._link.publish_to_hub(hub, Frame(text, connection_id=connection_id, namespace=namespace))
        return []

    async def sent(self, sends: list[Confirmation]) -> None:
        """Wait until what was sent is on its way to the other processes.

        Raises:
            LayerUnavailable: others may not have got it.
        """
        await confirmed(sends)
        await self._let_turn()

    def owns(self, connection_id: str) -> bool:
        """Whether a connection of this id would be one of this hub's."""
        return hub_of(connection_id) == self.id

    async def _let_turn(self) -> None:
        # A sender that never waits for anything would keep all others, and the readers' writers, from running.
        self._sends_since_turn += 1
        if self._sends_since_turn >= _SENDS_PER_TURN:
            self._sends_since_turn = 0
            await asyncio.sleep(0)

    def _deliver(self, namespace: str, rooms: Iterable[str | None], text: str, exclude: Iterable[str]) -> None:
        for member in self.membership.present(namespace, rooms):
            if member.id not in exclude:
                member.deliver(text)

    def _is_first(self, emission: str) -> bool:
        """Whether a send to several rooms was not seen before; each of their groups brings it."""
        if emission in self._emissions:
            return False
        self._emissions[emission] = None
        if len(self._emissions) > _REMEMBERED_EMISSIONS:
            self._emissions.popitem(last=False)
        return True

    # Asking

    async def answered(self) -> None:
        """Wait until no question is under way."""
        while self._asking:
            self._has_answer.clear()
            await self._has_answer.wait()

    async def ask(self, hub: str | None, action: str, *arguments: Any, timeout: float) -> list[Any]:
        """Return the answers of all hubs, or of one, this one among them, to an action.

        Raises:
            IncompleteAnswer: some did not answer within ``timeout`` seconds; ``answer`` is the list of the others'.
            LayerUnavailable: the others could not be asked.
        """
        self._asking += 1
        try:
            return await self._ask(hub, action, list(arguments), timeout)
        finally:
            self._asking -= 1
            self._has_answer.set()

    async def _ask(self, hub: str | None, action: str, arguments: list[Any], timeout: float) -> list[Any]:
        deadline = self.loop.time() + timeout
        own = None if hub not in (None, self.id) else self._answer_here(action, arguments)
        problems = []
        try:
            others = {} if hub == self.id else await self._link.ask(hub, action, arguments, timeout)
        except IncompleteAnswer as error:
            others = cast(dict[str, Any], error.answer)
            problems.append(str(error))
        answers = list(others.values())
        if own is not None:
            await asyncio.wait([own], timeout=max(0.0, deadline - self.loop.time()))
            if own.done():
                answers.insert(0, own.result())
            else:
                problems.append(f"This process gave no answer to {action!r} within {timeout:g} s.")
        if problems:
            raise IncompleteAnswer(" ".join(problems), answer=answers)
        return answers

    def _answer_here(self, action: str, arguments: list[Any]) -> asyncio.Task[Any]:
        # In the hub's context, as for an asker from elsewhere, and not in that of the one who asks, maybe a request's.
        task = self.context.copy().run(self.run, self._answer(self, action, arguments))
        task.add_done_callback(_forget_outcome)
        return task

    # What the link calls

    def deliver_frame(self, group: str, frame: Frame) -> None:
        """Give a frame from another process to local members."""
        if frame.connection_id:
            if member := self.membership.get(frame.namespace, frame.connection_id):
                member.deliver(frame.text)
        elif (key := self.membership.room_of(group)) and (not frame.rooms or self._is_first(frame.emission)):
            namespace, room = key
            self._deliver(namespace, frame.rooms or [room], frame.text, frame.exclude)

    def deliver_foreign(self, message: Foreign) -> None:
        """Give an event of other Channels code to local members.

        Raises:
            Malformed: it is none that can be sent.
        """
        try:
            text = to_frame(message.event, message.data)
        except EtpError as error:
            raise Malformed(f"an event that other code sent to a room's group: {error}") from error
        self._deliver(message.namespace, [message.room], text, ())

    def report_loss(self, loss: Loss) -> None:
        """Tell the log, and ``on_error``, of messages that the layer lost."""
        namespaces: Iterable[str | None]
        if key := self.membership.room_of(loss.group):
            namespaces, room = [key[0]], key[1]
            whose = "of the whole namespace" if room is None else f"of room {room!r:.80}"
        elif loss.group.startswith(HUB_PREFIX):
            namespaces, room, whose = self.membership.namespaces, None, "sent to single connections"
        else:
            namespaces, room, whose = [None], None, "of a room that nobody here is in any more"
        text = (
            f"The channel layer lost {loss.messages} messages with {loss.frames} events on the way to this process, "
            f"{whose}. Likely causes: its capacity was full (raise 'capacity', or use RedisPubSubChannelLayer), or the "
            "broker was restarted or out of reach."
        )
        if self.report is None:
            logger.error("%s", text)
            return
        for namespace in namespaces:
            error = MessagesLost(
                text,
                group=loss.group,
                messages=loss.messages,
                frames=loss.frames,
                room=room,
                namespace=namespace,
            )
            self.run(self.report(namespace or "default", error))

    async def answer(self, action: str, arguments: list[Any]) -> Any:
        """Answer a question of another process."""
        return await self._answer(self, action, arguments)


def hub_of(connection_id: str) -> str:
    """Return the id of the hub that a connection's id names."""
    return connection_id.partition(".")[0]


def _forget_outcome(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()  # nobody is left to hear it
