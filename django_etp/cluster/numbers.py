"""Messages about the last numbers of streams: announcements, requests for them, and answers to requests."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

__all__ = ["MAX_STREAM_NAME", "Numbers", "Wanted"]

# Names of streams are remembered, and may be forged.
MAX_STREAM_NAME = 100


@dataclass(frozen=True, slots=True)
class Numbers:
    """The last numbers of streams.

    Attributes:
        streams: lists of group, stream, born, last number, frames in all.
        ages: for how many seconds each of them has existed; processes of older versions send none.
        asked: the number of the request that this answers; 0 for an announcement to all.
        is_relayed: the streams are those of other publishers.
    """

    type: ClassVar[str] = "etp.numbers"
    streams: list[Any]
    ages: list[Any] = field(default_factory=list)
    asked: int = 0
    is_relayed: bool = False


@dataclass(frozen=True, slots=True)
class Wanted:
    """A request of one node to all others for the last numbers of their streams.

    Attributes:
        answer_to: the group of the answers.
        number: names the request among those of its sender.
        groups: the groups of the streams; empty for all groups.
        within: only streams with a message in so many last seconds are wanted.
    """

    type: ClassVar[str] = "etp.wanted"
    answer_to: str
    number: int
    groups: list[Any]
    within: float
