"""Decide the meaning of an incoming frame, for the server, the client and the testing kit alike.

Rules kept here:

- A name that starts with ``__ack_`` marks an answer, with any peer. It is never handled as an event and never answered.
- A name that starts with ``__err_`` marks a failure in place of an answer, but only if both sides speak
  ``etp.ext.v1`` or ``etp.ext.v2``. With any other peer it is an event without a handler.
- ``__ping`` with an ack id is answered at once, past handlers and queues, with any peer. Without an ack id it is an
  event without a handler.
- ``__hello`` is the greeting of a server, if both sides speak the extensions. A client sends none: a server treats the
  name as an event without a handler.
- ``__part_`` and ``__stop_`` are about streamed answers, if both sides speak ``etp.ext.v2``. Servers send the former,
  and clients the latter.
- ``__auth`` is an event here. A server takes it as a token, if the client logged in by one and both sides speak the
  extensions.
- Any other name is an event for the application. Names that start with ``__`` are reserved, so the rest of those have
  no handler either.

No I/O, no state, no asyncio: each side keeps its own pending acks, and does its own reading and writing.
"""

from typing import Literal

from .frames import ACK_PREFIX, FAILURE_PREFIX, HELLO, PING, RESERVED_PREFIX, Event
from .streams import PART_PREFIX, STOP_PREFIX

__all__ = ["Meaning", "meaning_of"]

# Text and not an Enum, whose members take 80 ns each to look up on Python 3.11.
Meaning = Literal["answer", "ping", "greeting", "part", "stop", "event"]


def meaning_of(event: Event, *, speaks_extensions: bool) -> Meaning:
    """Return the meaning of a decoded frame.

    - ``"answer"``: an answer, or the failure in place of one; pass it to ``PendingAcks.settle()``.
    - ``"ping"``: send ``encode_answer(event)`` at once.
    - ``"greeting"``: the server's greeting. A server treats it as an event.
    - ``"part"``: a part of a streamed answer. A server treats it as an event.
    - ``"stop"``: the request to end a streamed answer. A client treats it as an event.
    - ``"event"``: an event for the application.

    Args:
        event: the result of ``decode()``.
        speaks_extensions: whether both sides of the connection speak the extensions.
    """
    name = event.name
    if not name.startswith(RESERVED_PREFIX):
        return "event"
    if name.startswith(ACK_PREFIX) or (speaks_extensions and name.startswith(FAILURE_PREFIX)):
        return "answer"
    if name == PING and event.ack_id:
        return "ping"
    if name == HELLO and speaks_extensions:
        return "greeting"
    if speaks_extensions and name.startswith(PART_PREFIX):
        return "part"
    if speaks_extensions and name.startswith(STOP_PREFIX):
        return "stop"
    return "event"
