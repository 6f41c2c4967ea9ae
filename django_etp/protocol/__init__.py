"""ETP on the wire, for server and client alike."""

from .failures import encode_failure, read_failure
from .frames import (
    ACK_PREFIX,
    FAILURE_PREFIX,
    HELLO,
    PING,
    RESERVED_PREFIX,
    ROOMS_SUBPROTOCOL,
    SUBPROTOCOL,
    Event,
    check_event_name,
    decode,
    encode,
    encode_answer,
)

__all__ = [
    "ACK_PREFIX",
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
    "encode_failure",
    "read_failure",
]
