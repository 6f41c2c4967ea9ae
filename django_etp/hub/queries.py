"""Queries to the hubs of all processes, or to one: asked, checked, answered, merged.

Rules kept here:

- What is asked stands with the feature that asks it, which registers its queries with register_query().
- What is no answer to the query, from another version or a forger, is logged and counts as none.
"""

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from django_etp.cluster.messages import Malformed
from django_etp.cluster.reader import complain
from django_etp.exceptions import EtpError, IncompleteAnswer

from .hub import Hub

__all__ = ["RoomQuery", "answer", "are_texts", "is_number", "is_text", "is_text_or_none", "register_query"]

_T = TypeVar("_T")


async def answer(hub: Hub, action: str, arguments: list[Any]) -> Any:
    """Do what an action asks of a hub, and return what it found.

    Raises:
        Malformed: the action is unknown, or its arguments do not fit; nothing was done.
    """
    if action not in _QUERIES:
        raise Malformed(f"the action {action!r:.80} is unknown here: does another process run another version?")
    function, checks = _QUERIES[action]
    if len(arguments) != len(checks) or not all(check(value) for check, value in zip(checks, arguments, strict=True)):
        raise Malformed(f"the action {action!r} does not take the arguments {arguments!r:.80}")
    return await function(hub, *arguments)


# What arguments must be at least: those from other processes may be anything.


def is_text(value: object) -> bool:
    return isinstance(value, str)


def is_text_or_none(value: object) -> bool:
    return value is None or isinstance(value, str)


def are_texts(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)


def is_number(value: object) -> bool:
    return isinstance(value, int) or (isinstance(value, float) and not math.isnan(value))


def register_query(
    name: str, function: Callable[..., Awaitable[Any]], rules: Sequence[Callable[[object], bool]]
) -> None:
    """Let hubs answer to another action; the function takes the hub, a namespace and plain arguments."""
    _QUERIES[name] = (function, rules)


_Query = tuple[Callable[..., Awaitable[Any]], Sequence[Callable[[object], bool]]]


_QUERIES: dict[str, _Query] = {}


@dataclass(frozen=True, slots=True)
class RoomQuery(Generic[_T]):
    """Something that hubs are asked, and how their answers become one.

    A question to one hub is about one of its connections; ``silence`` makes the error where that hub does not answer.
    """

    action: str
    arguments: tuple[Any, ...]
    timeout: float
    merge: Callable[[list[Any]], _T]
    hub: str | None = None
    silence: Callable[[str], EtpError] = lambda text: IncompleteAnswer(text, answer=None)

    async def ask(self, hub: Hub, namespace: str) -> _T:
        """Ask through a hub, and return what the answers amount to.

        Raises:
            IncompleteAnswer: a process gave no answer, or none that can be read; ``answer`` is what the others said.
            LayerUnavailable: the other processes could not be asked.
        """
        try:
            answers = await hub.ask(self.hub, self.action, namespace, *self.arguments, timeout=self.timeout)
        except IncompleteAnswer as error:
            answers = cast(list[Any], error.answer)
            if self.hub is None:
                raise IncompleteAnswer(str(error), answer=self._read(answers)) from None
            # It is about one connection: who has that has answered, or nobody has.
            if all(answer is None for answer in answers):
                raise self.silence(str(error)) from None
        return self._read(answers)

    def _read(self, answers: list[Any]) -> _T:
        try:
            return self.merge(answers)
        except _UNREADABLE as error:
            text = f"an answer to {self.action!r} cannot be read: {type(error).__name__}: {error}"
            complain(Malformed(text))
            readable = [answer for answer in answers if self._can_read(answer)]
            raise IncompleteAnswer(f"Of {len(answers)} answers, {text}", answer=self.merge(readable)) from error

    def _can_read(self, answer: object) -> bool:
        try:
            self.merge([answer])
        except _UNREADABLE:
            return False
        except EtpError:
            pass  # it says that there is nothing
        return True


_UNREADABLE = (TypeError, ValueError, LookupError, AttributeError, OverflowError)
