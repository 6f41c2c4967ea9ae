"""How much of its past a room keeps."""

from dataclasses import dataclass

__all__ = ["History"]

_MOST_EVENTS = 100_000
_MOST_SECONDS = 1_000_000_000_000  # a broker takes no time that is far longer


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """How much of its past a room keeps, as ``history=`` of ``etp_room``.

    A client that was away gets the events that it missed, if they are among these. A store may keep up to 200 events
    more.

    Attributes:
        size: how many events, up to 100,000.
        seconds: for how long, in seconds, up to 1,000,000,000,000.

    Raises:
        ValueError: a limit is no number, or it is out of its range.
    """

    size: int = 100
    seconds: float = 300

    def __post_init__(self) -> None:
        if not isinstance(self.size, int) or isinstance(self.size, bool) or not 0 < self.size <= _MOST_EVENTS:
            raise ValueError(
                f"History(size=) must be a number of events from 1 to {_MOST_EVENTS:,}, got {self.size!r:.80}."
            )
        is_number = isinstance(self.seconds, int | float) and not isinstance(self.seconds, bool)
        if not is_number or not 0 < self.seconds <= _MOST_SECONDS:
            raise ValueError(
                f"History(seconds=) must be a number of seconds above 0, up to {_MOST_SECONDS:,}, "
                f"got {self.seconds!r:.80}."
            )
