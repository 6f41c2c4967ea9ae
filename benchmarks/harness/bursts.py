"""What a server is asked to send to a room: so many numbered messages of one size."""

from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Burst", "number_of", "renumbered"]

_DIGITS = 8
_MARK = b"#"


@dataclass(frozen=True, slots=True)
class Burst:
    """Messages for a room.

    Attributes:
        room: where they go.
        messages: how many.
        size: characters of each, 9 at least.
        pause: seconds between two of them.
    """

    room: str
    messages: int
    size: int = 32
    pause: float = 0.0

    @classmethod
    def read(cls, text: str) -> "Burst":
        """Read back what str() gave."""
        room, messages, size, pause = text.split()
        return cls(room, int(messages), int(size), float(pause))

    def __str__(self) -> str:
        return f"{self.room} {self.messages} {self.size} {self.pause}"

    def texts(self) -> Iterator[str]:
        """Give the messages: a mark, the number from 0 up, and filling."""
        filling = "x" * (self.size - _DIGITS - 1)
        for number in range(self.messages):
            yield f"#{number:0{_DIGITS}}{filling}"


def renumbered(frame: bytes, number: int) -> bytes:
    """Return the frame that carries the message of this number, given that of another."""
    at = frame.index(_MARK) + 1
    return b"%b%0*d%b" % (frame[:at], _DIGITS, number, frame[at + _DIGITS :])


def number_of(payload: bytes) -> int:
    """Return the number of the message that a frame carries, in whatever dialect; -1 where it is none of a burst."""
    at = payload.find(_MARK) + 1
    return int(payload[at : at + _DIGITS]) if at else -1
