"""A burst: numbered messages of one size that a server sends to a room."""

from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Burst", "number_of", "renumbered"]

_DIGITS = 8
_MARK = b"#"


@dataclass(frozen=True, slots=True)
class Burst:
    """Messages for a room.

    Attributes:
        room: the room that receives them.
        messages: their number.
        size: characters of each, at least 9.
        pause: seconds between two messages.
    """

    room: str
    messages: int
    size: int = 32
    pause: float = 0.0

    @classmethod
    def read(cls, text: str) -> "Burst":
        """Parse the result of str()."""
        room, messages, size, pause = text.split()
        return cls(room, int(messages), int(size), float(pause))

    def __str__(self) -> str:
        return f"{self.room} {self.messages} {self.size} {self.pause}"

    def texts(self) -> Iterator[str]:
        """Yield the messages: a mark, the number from 0 up, and padding."""
        filling = "x" * (self.size - _DIGITS - 1)
        for number in range(self.messages):
            yield f"#{number:0{_DIGITS}}{filling}"


def renumbered(frame: bytes, number: int) -> bytes:
    """Return the frame of the message with this number, given the frame of another one."""
    at = frame.index(_MARK) + 1
    return b"%b%0*d%b" % (frame[:at], _DIGITS, number, frame[at + _DIGITS :])


def number_of(payload: bytes) -> int:
    """Return the number of the message in a frame of any dialect; -1 if it is not part of a burst."""
    at = payload.find(_MARK) + 1
    return int(payload[at : at + _DIGITS]) if at else -1
