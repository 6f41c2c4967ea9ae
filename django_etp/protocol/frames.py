"""Decode WebSocket messages to events, and encode events to messages.

Rules kept here:

- A frame is ``name||ackId`` or ``name||ackId||data``. It splits at the first two delimiters only; data may hold more.
- Empty and absent data are the same; encoding leaves out the second delimiter.
- ``ackId`` is a signed 64-bit decimal number: an optional sign, then ASCII digits. 0 means that no answer is wanted.
- A frame whose name starts with ``__ack_`` is an answer, matched by its number alone.
- With a peer that speaks the extensions, a name that starts with ``__err_`` is the failure of the event of that number.
- ``decode`` raises only ``InvalidFrame``; ``decode(encode(event)) == event`` for each event that ``encode`` accepts.
- The text of an error describes the shape of a message and never quotes it, as it goes to logs.

No Django, no asyncio, no clock: server and client share this module.
"""

import json
import re
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from django_etp.exceptions import InvalidEventName, InvalidFrame, InvalidPayload

__all__ = [
    "ACK_PREFIX",
    "AUTH",
    "DOCTOR",
    "FAILURE_PREFIX",
    "HELLO",
    "PING",
    "RESERVED_PREFIX",
    "ROOMS_SUBPROTOCOL",
    "SUBPROTOCOL",
    "Event",
    "check_event_name",
    "decode",
    "encode",
    "encode_answer",
    "size_of",
]

# The WebSocket subprotocol of the extensions: failures and the greeting.
SUBPROTOCOL = "etp.ext.v1"
# That of declared rooms, beside all of the extensions above.
ROOMS_SUBPROTOCOL = "etp.ext.v2"
ACK_PREFIX = "__ack_"
FAILURE_PREFIX = "__err_"
AUTH = "__auth"
DOCTOR = "__doctor"
HELLO = "__hello"
RESERVED_PREFIX = "__"
PING = "__ping"

_DELIMITER = "||"
_ACK_ID_MAX = 2**63 - 1
_ACK_ID_MIN = -(2**63)
# int() also accepts spaces, underscores and the digits of other scripts; ETP does not.
_ACK_ID = re.compile(r"[+-]?[0-9]+", re.ASCII)
# Every number of 18 digits fits 64 bits; a longer one may not.
_SAFE_DIGITS = 18
_LARGE_EXPONENT = re.compile(r"e\+?[0-9]{2}")
# Pieces of 150 characters, none of which holds digits only; 300 digits in a row would fill one of them.
_FEW_DIGITS = re.compile(r"(?:(?![0-9]{150}).{150})*+.{0,149}", re.DOTALL)


# Not frozen=True, with which making an event takes three times as long; Final lets type checkers refuse assignments.
@dataclass(slots=True, unsafe_hash=True)
class Event:
    """One event: its name, the number of the answer that it wants (0: none), and its data as text. Do not change it.

    Data that is absent on the wire is ``""``.
    """

    name: Final[str]
    ack_id: Final[int] = 0
    data: Final[str] = ""

    @property
    def ack_required(self) -> bool:
        """Whether the sender waits for an answer."""
        return self.ack_id != 0

    @property
    def is_ack(self) -> bool:
        """Whether this is an answer to an event rather than an event."""
        return self.name.startswith(ACK_PREFIX)

    @property
    def is_failure(self) -> bool:
        """Whether this is the failure of an event, between peers that speak the extensions."""
        return self.name.startswith(FAILURE_PREFIX)

    def json(self) -> Any:
        """Return the data parsed as JSON (RFC 8259).

        Raises:
            InvalidPayload: the data is not JSON, or holds a number out of range. ``NaN`` and ``Infinity`` are not JSON.
        """
        try:
            return _parse_json(self.data)
        except (ValueError, RecursionError) as error:
            text = f"The data of event {_cut(self.name)} is not JSON: {error}."
            raise InvalidPayload(text, is_answer=self.is_ack) from error


def size_of(text: str) -> int:
    """Return the number of bytes that a text takes on the wire."""
    return len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))


def decode(message: str | bytes) -> Event:
    """Return the event that a WebSocket message holds, or the answer (see ``Event.is_ack``).

    A binary message is read like a text one.

    Raises:
        InvalidFrame: the message is not an ETP frame.
    """
    if isinstance(message, bytes):
        try:
            message = message.decode()
        except UnicodeDecodeError as error:
            text = f"A binary message must hold UTF-8 text: {error.reason} at byte {error.start}."
            raise InvalidFrame(text, frame=message) from error
    try:
        parts = message.split(_DELIMITER, 2)
    except (AttributeError, TypeError):
        raise _not_a_frame(message) from None
    if len(parts) == 3:
        name, ack_text, data = parts
    elif len(parts) == 2:
        name, ack_text, data = *parts, ""
    else:
        raise _not_a_frame(message)
    if len(ack_text) <= _SAFE_DIGITS and ack_text.isdigit() and ack_text.isascii():
        ack_id = int(ack_text)
    else:
        ack_id = _unusual_ack_id(ack_text, message)
    return Event(name, ack_id, data)


def encode(event: Event) -> str:
    """Return the frame of an event, or of an answer (a name that starts with ``__ack_`` and a number other than 0).

    Raises:
        InvalidEventName: the name would come back as another frame.
        InvalidFrame: the ack id is not a signed 64-bit number.
        InvalidPayload: the data is not text, or cannot be UTF-8.
    """
    name, ack_id, data = event.name, event.ack_id, event.data
    _check_name(name)
    if ack_id == 0 and name.startswith(ACK_PREFIX):
        raise InvalidEventName(
            f"An event name must not start with {ACK_PREFIX!r}, which marks answers; got {_cut(name)}. Rename it."
        )
    if not isinstance(ack_id, int) or not _ACK_ID_MIN <= ack_id <= _ACK_ID_MAX:
        raise InvalidFrame(f"An ack id must be a signed 64-bit number, got {_cut(ack_id)}.")
    _check_data(data)
    # "d" and join(), since formatting would send the name of a bool, an IntEnum or a str Enum, not its value.
    return _DELIMITER.join((name, f"{ack_id:d}", data) if data else (name, f"{ack_id:d}"))


def encode_answer(event: Event, data: str = "") -> str:
    """Return the frame that answers ``event``.

    Raises:
        InvalidPayload: the data is not text, or cannot be UTF-8.
    """
    if type(data) is not str or not data.isascii():
        _check_data(data)
    return f"{ACK_PREFIX}{event.name}||{event.ack_id}||{data}" if data else f"{ACK_PREFIX}{event.name}||{event.ack_id}"


def check_event_name(name: object) -> None:
    """Check a name that an application gives to an event.

    Raises:
        InvalidEventName: ETP cannot carry it, or reserves it.
    """
    if not isinstance(name, str):
        raise InvalidEventName(f"An event name must be str, got {type(name).__name__}.")
    if name.startswith(RESERVED_PREFIX):
        raise InvalidEventName(f"Event names that start with '__' are reserved, got {_cut(name)}. Rename the event.")
    _check_name(name)


def _unusual_ack_id(text: str, frame: str) -> int:
    if _ACK_ID.fullmatch(text):
        sign = -1 if text[0] == "-" else 1
        digits = text.lstrip("+-").lstrip("0") or "0"
        # 20 digits exceed 64 bits, and int() raises an error of its own for thousands of them.
        if len(digits) < 20 and _ACK_ID_MIN <= (ack_id := sign * int(digits)) <= _ACK_ID_MAX:
            return ack_id
    got = "a number out of its range" if _ACK_ID.fullmatch(text) else f"{len(text):,} characters that are not a number"
    raise InvalidFrame(
        f"An ack id must be a signed 64-bit decimal number, got {got}. Send 0 if no answer is wanted.", frame=frame
    )


def _not_a_frame(message: object) -> InvalidFrame:
    if isinstance(message, str):
        got = f"{len(message):,} characters without '||'"
        return InvalidFrame(f"A frame must be 'name||ackId' or 'name||ackId||data', got {got}.", frame=message)
    return InvalidFrame(f"A frame must be str or bytes, got {type(message).__name__}.")


def _check_name(name: str) -> None:
    if not isinstance(name, str):
        raise InvalidEventName(f"An event name must be str, got {type(name).__name__}.")
    if _DELIMITER in name or name.endswith("|"):
        raise InvalidEventName(
            f"An event name must not hold '||' or end in '|', the frame's delimiter; got {_cut(name)}. Rename it."
        )
    if not _is_utf8(name):
        raise InvalidEventName(f"An event name must be valid Unicode, got the lone surrogate in {_cut(name)}.")


def _check_data(data: str) -> None:
    if not isinstance(data, str):
        raise InvalidPayload(
            f"The data of a frame must be str, got {type(data).__name__}. Turn it into text first.", is_outgoing=True
        )
    if not _is_utf8(data):
        raise InvalidPayload("The data of a frame must be valid Unicode, got a lone surrogate.", is_outgoing=True)


def _is_utf8(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _finite(number: str) -> float:
    value = float(number)
    if value - value != 0:
        raise ValueError(f"a number of {len(number):,} characters is too large for a float")
    return value


# Made once: json.loads() would make a new decoder for each call with arguments.
_parse_finite = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite).decode
_parse_fast = json.JSONDecoder(parse_constant=_refuse_constant).decode


def _parse_json(text: str) -> Any:
    # To check each number would make a text full of numbers a third slower. So check first if any can be too large.
    if text.count(".", 0, 1000) < 25 or _may_be_infinite(text):
        return _parse_finite(text)
    return _parse_fast(text)


def _may_be_infinite(text: str) -> bool:
    """Return whether a text may hold a number of 300 digits, or with an exponent of two digits."""
    return "E" in text or ("e" in text and bool(_LARGE_EXPONENT.search(text))) or not _FEW_DIGITS.fullmatch(text)


def _cut(value: object) -> str:
    text = ascii(value[:60]) if isinstance(value, str) else ascii(value)[:60]
    return f"{text}…" if isinstance(value, str) and len(value) > 60 else text
