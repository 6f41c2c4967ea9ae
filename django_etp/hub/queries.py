"""Queries to the hubs of all processes, or to the hub of one connection.

Rules kept here:

- A query is one class: its name and its arguments on the wire, the reply of a hub, the hubs that are asked, and the
  result that their replies make.
- A query stands with the feature that needs it, which registers the class with ``register_query``.
- A query from another process is checked by the types of its fields, then by its class. One that does not fit is
  refused before anything is done.
- A reply that cannot be read, from another version or a forger, is logged and counts as none.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Generic, TypeVar, cast

from django_etp.cluster.messages import Malformed
from django_etp.cluster.reader import complain
from django_etp.exceptions import ConnectionClosed, EtpError, IncompleteAnswer

from .hub import Hub
from .members import Member, hub_of

__all__ = [
    "ConnectionCommand",
    "ConnectionQuery",
    "HubCommand",
    "HubQuery",
    "answer",
    "read_query",
    "register_query",
]

_T = TypeVar("_T")
_Kind = TypeVar("_Kind", bound="type[HubQuery[Any]]")

_QUERIES: dict[str, "type[HubQuery[Any]]"] = {}
# Such a field travels as a list.
_TEXTS = tuple[str, ...]
_UNREADABLE = (TypeError, ValueError, LookupError, AttributeError, OverflowError)


@dataclass(frozen=True, slots=True)
class HubQuery(ABC, Generic[_T]):
    """A query to the hubs of all processes.

    Subclasses are frozen, slotted dataclasses. Their fields are the query's arguments, in their order on the wire, of
    the types ``str``, ``str | None``, ``tuple[str, ...]``, ``int`` and ``float``. A class may check their values in
    ``__post_init__``, for callers and for queries from other processes alike.

    Attributes:
        action: the query's name on the wire.
        namespace: the namespace that the query is about.
    """

    action: ClassVar[str]
    namespace: str

    @abstractmethod
    async def reply(self, hub: Hub) -> Any:
        """Reply as one hub: do what is asked, and return plain values, which the channel layer can carry."""

    @abstractmethod
    def merge(self, replies: list[Any]) -> _T:
        """Return the result that the replies of the hubs make."""

    async def ask(self, hub: Hub, timeout: float) -> _T:
        """Ask through a hub, and return the result. Each hub has ``timeout`` seconds to reply.

        Raises:
            IncompleteAnswer: a process sent no reply, or none that can be read; ``answer`` is the result of the others.
            LayerUnavailable: the query could not be sent to the other processes.
        """
        try:
            replies = await hub.ask(None, self.action, *self.to_plain(), timeout=timeout)
        except IncompleteAnswer as error:
            raise IncompleteAnswer(str(error), answer=self._read(cast(list[Any], error.answer))) from None
        return self._read(replies)

    def to_plain(self) -> list[Any]:
        """Return the arguments as they travel."""
        values = (getattr(self, field.name) for field in fields(self))
        return [list(value) if isinstance(value, tuple) else value for value in values]

    def _read(self, replies: list[Any]) -> _T:
        try:
            return self.merge(replies)
        except _UNREADABLE as error:
            text = f"a reply to {self.action!r} cannot be read: {type(error).__name__}: {error}"
            complain(Malformed(text))
            readable = [reply for reply in replies if self._can_read(reply)]
            raise IncompleteAnswer(f"Of {len(replies)} replies, {text}", answer=self.merge(readable)) from error

    def _can_read(self, reply: object) -> bool:
        try:
            self.merge([reply])
        except _UNREADABLE:
            return False
        except EtpError:
            pass  # the reply is readable: it reports that there is nothing
        return True


@dataclass(frozen=True, slots=True)
class HubCommand(HubQuery[None]):
    """A query that hubs carry out, without a result."""

    def merge(self, replies: list[Any]) -> None:
        """Ignore the replies."""


@dataclass(frozen=True, slots=True)
class ConnectionQuery(HubQuery[_T]):
    """A query about one connection, to the hub that the connection's id names."""

    connection_id: str

    @abstractmethod
    async def reply_for(self, member: Member, hub: Hub) -> Any:
        """Return the reply about a connection of this hub; ``None`` lets it count as gone. See HubQuery.reply()."""

    @abstractmethod
    def read(self, reply: Any) -> _T:
        """Return the result that this reply makes."""

    def gone(self) -> _T:
        """Return the result, or raise the error, if no hub has the connection."""
        raise ConnectionClosed(f"Connection {self.connection_id!r:.120} is gone, or never was.")

    def no_reply(self, reason: str) -> EtpError:
        """Return the error to raise if the connection's hub does not reply in time."""
        return IncompleteAnswer(reason, answer=None)

    async def reply(self, hub: Hub) -> Any:
        """Return reply_for(), or ``None`` if the hub does not have the connection."""
        member = hub.membership.get(self.namespace, self.connection_id)
        return None if member is None else await self.reply_for(member, hub)

    def merge(self, replies: list[Any]) -> _T:
        """Return the result of the one hub that has the connection, or of gone()."""
        for reply in replies:
            if reply is not None:
                return self.read(reply)
        return self.gone()

    async def ask(self, hub: Hub, timeout: float) -> _T:
        """See HubQuery.ask()."""
        owner = hub_of(self.connection_id)
        try:
            replies = await hub.ask(owner, self.action, *self.to_plain(), timeout=timeout)
        except IncompleteAnswer as error:
            replies = cast(list[Any], error.answer)
            # All hubs are asked if the one in the id is unknown. It is enough that the one with the connection replies.
            if all(reply is None for reply in replies):
                raise self.no_reply(str(error)) from None
        return self._read(replies)


@dataclass(frozen=True, slots=True)
class ConnectionCommand(ConnectionQuery[None]):
    """A query that the connection's hub carries out, without a result; its reply is ``True``."""

    def read(self, reply: Any) -> None:
        """Ignore the reply."""


def register_query(action: str) -> Callable[[_Kind], _Kind]:
    """Return a class decorator: hubs answer this query, under the name ``action`` on the wire."""

    def register(kind: _Kind) -> _Kind:
        kind.action = action
        _QUERIES[action] = kind
        return kind

    return register


async def answer(hub: Hub, action: str, arguments: list[Any]) -> Any:
    """Answer a query as a hub, and return the reply.

    Raises:
        EtpError: the query is not valid, or failed.
        Malformed: see read_query(); nothing was done.
    """
    return await read_query(action, arguments).reply(hub)


def read_query(action: str, arguments: list[Any]) -> HubQuery[Any]:
    """Return the query that an action and its arguments, as they came over the channel layer, make.

    Raises:
        Malformed: the action is unknown, or its arguments do not fit.
    """
    kind: Any = _QUERIES.get(action)
    if kind is None:
        raise Malformed(f"the action {action!r:.80} is unknown here: does another process run another version?")
    types = [field.type for field in fields(kind)]
    if len(arguments) != len(types) or not all(map(_fits, arguments, types)):
        raise Malformed(f"the action {action!r} does not take the arguments {arguments!r:.80}")
    query: HubQuery[Any] = kind(*[tuple(value) if isinstance(value, list) else value for value in arguments])
    return query


def _fits(value: object, expected: Any) -> bool:
    """Return whether a value from the channel layer is one for a field of this type."""
    if expected == _TEXTS:
        return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)
    if expected is float:
        return isinstance(value, int) or (isinstance(value, float) and not math.isnan(value))
    return isinstance(value, expected)
