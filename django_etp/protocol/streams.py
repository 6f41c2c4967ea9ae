"""Streamed answers on the wire, for peers that speak ``etp.ext.v2``.

Rules kept here:

- Each part of an answer is ``__part_<event>||<ack id>||<data>``. The usual answer, without data, follows the last one.
- ``__stop_<event>||<ack id>`` asks to end the answer with this number. It gets no answer, and neither does the event.

No I/O, no Django: server, client and testing kit share this module.
"""

from .frames import Event, encode

__all__ = ["PART_PREFIX", "STOP_PREFIX", "encode_part", "encode_stop"]

PART_PREFIX = "__part_"
STOP_PREFIX = "__stop_"


def encode_part(event: Event, data: str) -> str:
    """Return the frame of a part of the answer to ``event``.

    Raises:
        InvalidPayload: the data is not text, or cannot be UTF-8.
    """
    return encode(Event(PART_PREFIX + event.name, event.ack_id, data))


def encode_stop(name: str, ack_id: int) -> str:
    """Return the frame that asks to end the answer to the event ``name`` with this number."""
    return encode(Event(STOP_PREFIX + name, ack_id))
