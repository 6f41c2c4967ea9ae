"""The errors that django_etp raises.

    EtpError
    ├── ProtocolError               a rule of ETP or of WebSocket was broken
    │   ├── InvalidFrame            what arrived is not an ETP frame
    │   ├── MessageTooLarge         a message passed MAX_MESSAGE_SIZE
    │   ├── InvalidEventName        an event name that ETP cannot carry, or a reserved one
    │   ├── InvalidCloseCode        a close code or reason that RFC 6455 does not let an endpoint send
    │   └── TooManyEvents           a peer sent more events than MAX_QUEUED_EVENTS lets wait
    ├── InvalidPayload              data that is not JSON, does not fit its declared type, or cannot become JSON
    ├── DataTooLarge                connection.data exceeds MAX_DATA_SIZE
    ├── InvalidRoomName             a room name that is not text, too long, or reserved
    ├── TooManyRooms                a connection would be in more rooms than MAX_ROOMS allows
    ├── NoRoomMatch                 a declared room has no name for these parameters
    ├── EventFailed                 the event failed at the peer; raise it in a handler to send a failure
    ├── AckTimeout                  no answer came in time; also a TimeoutError
    ├── ConnectionClosed            the connection has ended, or ended before the answer came
    ├── RejectConnection            raised by on_connect hooks to refuse a connection
    ├── EventAlreadyRegistered      two handlers for one event
    ├── LayerUnavailable            the channel layer did not confirm a send
    ├── MessagesLost                the channel layer dropped messages; passed to on_error, never raised
    ├── IncompleteAnswer            not every process replied in time
    └── SyncCallInEventLoop         a synchronous twin was called inside an event loop; also a RuntimeError

This module imports neither Django nor Channels, so that clients and codecs can use it without Django.
"""

import json
from collections.abc import Iterable
from typing import Any

from .quoting import one_line

__all__ = [
    "AckTimeout",
    "ConnectionClosed",
    "DataTooLarge",
    "EtpError",
    "EventAlreadyRegistered",
    "EventFailed",
    "IncompleteAnswer",
    "InvalidCloseCode",
    "InvalidEventName",
    "InvalidFrame",
    "InvalidPayload",
    "InvalidRoomName",
    "LayerUnavailable",
    "MessageTooLarge",
    "MessagesLost",
    "NoRoomMatch",
    "ProtocolError",
    "RejectConnection",
    "SyncCallInEventLoop",
    "TooManyEvents",
    "TooManyRooms",
]


class EtpError(Exception):
    """Base class of all errors that django_etp raises."""


class ProtocolError(EtpError):
    """A rule of ETP or of the WebSocket protocol was broken."""


class InvalidFrame(ProtocolError):
    """A message is not an ETP frame; the text names the wrong part.

    Attributes:
        frame: the message as received, str or bytes; ``None`` if it is neither, or if there is no message. The text
            quotes nothing of it.
    """

    def __init__(self, text: str, *, frame: str | bytes | None = None) -> None:
        super().__init__(text)
        self.frame = frame


class MessageTooLarge(ProtocolError):
    """A message is larger than the setting MAX_MESSAGE_SIZE allows."""


class InvalidEventName(ProtocolError):
    """An event name that would come back as another frame, or that is reserved."""


class InvalidCloseCode(ProtocolError):
    """A close code or reason that an endpoint must not send (RFC 6455, sections 5.5.1 and 7.4)."""


class TooManyEvents(ProtocolError):
    """A peer sent more events than the setting MAX_QUEUED_EVENTS lets wait."""


class InvalidPayload(EtpError):
    """Data that is not JSON where JSON was expected or does not fit its declared type, or a value that cannot be sent.

    Attributes:
        errors: the misfits with a declared type, as dicts: ``path``, a list of keys and indexes in the data,
            ``message``, a sentence for people, and ``code``, which the type's library gives.
        is_outgoing: whether this side was to send the data, and did not receive it.
        is_answer: whether it is the data of an answer. If a handler does not catch such an error, the handler failed:
            the event that it handles is not at fault.
    """

    def __init__(
        self,
        text: str = "",
        *,
        errors: Iterable[dict[str, Any]] = (),
        is_outgoing: bool = False,
        is_answer: bool = False,
    ) -> None:
        super().__init__(text)
        self.errors = list(errors)
        self.is_outgoing = is_outgoing
        self.is_answer = is_answer


class DataTooLarge(EtpError):
    """The data of a connection is larger than the setting MAX_DATA_SIZE allows."""


class InvalidRoomName(EtpError):
    """A room name that is not text of at most 1,000 characters, or a reserved one; or a user who has no room."""


class TooManyRooms(EtpError):
    """A connection would be in more rooms than the setting MAX_ROOMS allows; it has joined none of them.

    If a handler does not catch it, a client that speaks the extensions gets the code ``too_many_rooms``.
    """


class NoRoomMatch(EtpError):
    """A declared room has no name for these parameters; the text holds the pattern and the parameters."""


class EventFailed(EtpError):
    """An event failed at the peer. A handler raises it to send a failure to a peer that speaks the extensions.

    Attributes:
        code: ``handler_error``, ``unknown_event``, ``invalid_payload``, ``permission_denied``, ``rate_limited``,
            ``too_many_events``, ``too_many_rooms``, or one of the application's own.
        message: a sentence for people. The error's own text is escaped and cut to 200 characters.
        details: further facts for the peer, which JSON can hold; ``None`` if there are none.
        errors: with the code ``invalid_payload``, the misfits; see ``InvalidPayload.errors``.
        retry_after: when to try again, in seconds; ``None`` if that is not known.
        is_from_peer: whether a peer sent the failure. If a handler does not catch such a failure, the handler failed:
            a failure from one peer is never sent on to another.
    """

    def __init__(
        self,
        code: str,
        message: str = "",
        *,
        details: Any = None,
        errors: Iterable[dict[str, Any]] = (),
        retry_after: float | None = None,
        is_from_peer: bool = False,
    ) -> None:
        super().__init__(code, message)
        # Checked at once, so that the traceback shows the line that is wrong.
        if details is not None and not is_from_peer:
            try:
                json.dumps(details, allow_nan=False)
            except (TypeError, ValueError, RecursionError) as error:
                raise TypeError(
                    f"The details of an EventFailed must be what JSON can hold, got {type(details).__name__}: {error}."
                ) from error
        self.code = code
        self.message = message
        self.details = details
        self.errors = list(errors)
        self.retry_after = retry_after
        self.is_from_peer = is_from_peer

    def __str__(self) -> str:
        # Always one short line, since a peer may have written it and it goes into logs.
        return one_line(f"{self.code}: {self.message}" if self.message else str(self.code))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"


class AckTimeout(EtpError, TimeoutError):
    """The peer did not answer an event in time."""


class ConnectionClosed(EtpError):
    """The connection has ended, is unknown, or ended before the answer came."""


class RejectConnection(EtpError):
    """An ``on_connect`` hook raises it to refuse the connection.

    Before the accept the peer receives HTTP 403; after it, close code 4403 with the reason.
    """

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason


class EventAlreadyRegistered(EtpError):
    """Two handlers were registered for one event; the text names both places."""


class LayerUnavailable(EtpError):
    """The channel layer did not confirm a send in time. Local members have already received the event."""


class MessagesLost(EtpError):
    """The channel layer dropped messages on the way to this process; reported to ``on_error``.

    Attributes:
        group: the channel-layer group whose messages are missing.
        messages: how many layer messages are missing.
        frames: how many events were in them.
        room: the room whose messages are missing; ``None`` if they were for single connections, for a whole namespace
            or for a room that has no more members in this process.
        namespace: the namespace whose messages are missing; ``None`` if the room has no members in this process.
    """

    def __init__(
        self,
        text: str,
        *,
        group: str = "",
        messages: int = 0,
        frames: int = 0,
        room: str | None = None,
        namespace: str | None = None,
    ) -> None:
        super().__init__(text)
        self.group = group
        self.room = room
        self.namespace = namespace
        self.messages = messages
        self.frames = frames


class IncompleteAnswer(EtpError):
    """Not every process replied in time; ``answer`` holds the replies that came."""

    def __init__(self, text: str, *, answer: object = None) -> None:
        super().__init__(text)
        self.answer = answer


class SyncCallInEventLoop(EtpError, RuntimeError):
    """A synchronous twin was called on the thread of a running event loop; await its ``a…`` twin."""


def describe(error: BaseException) -> str:
    """Return the class and the text of an error for use inside a sentence, without the full stop."""
    text = str(error).rstrip(" .")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
