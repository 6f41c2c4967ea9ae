"""The errors that django_etp raises.

    EtpError
    ├── ProtocolError               a rule of ETP or of WebSocket was broken
    │   ├── InvalidFrame            what arrived is not an ETP frame
    │   ├── MessageTooLarge         a message passed MAX_MESSAGE_SIZE
    │   ├── InvalidEventName        an event name that ETP cannot carry, or a reserved one
    │   ├── InvalidCloseCode        a close code or reason that RFC 6455 does not let an endpoint send
    │   └── TooManyEvents           a peer sent more events than MAX_QUEUED_EVENTS lets wait
    ├── InvalidPayload              data that is not JSON where JSON was expected, or cannot become JSON
    ├── InvalidRoomName             a room name that is not text, or too long
    ├── EventFailed                 the peer says why an event has no answer; raise it in a handler to say so
    ├── AckTimeout                  no answer in time; also a TimeoutError
    ├── ConnectionClosed            the connection is gone, or was closed before the answer came
    ├── RejectConnection            raised by on_connect hooks to refuse a connection
    ├── EventAlreadyRegistered      two handlers for one event
    ├── LayerUnavailable            the channel layer did not confirm a send
    ├── MessagesLost                the channel layer dropped messages; given to on_error, never raised
    ├── IncompleteAnswer            not every process answered a question in time
    └── SyncCallInEventLoop         a synchronous twin called where an event loop runs; also a RuntimeError

This module imports nothing, so that clients and codecs can use it without Django.
"""

__all__ = [
    "AckTimeout",
    "ConnectionClosed",
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
    "ProtocolError",
    "RejectConnection",
    "SyncCallInEventLoop",
    "TooManyEvents",
]


class EtpError(Exception):
    """Base class of all errors that django_etp raises."""


class ProtocolError(EtpError):
    """A rule of ETP or of the WebSocket protocol was broken."""


class InvalidFrame(ProtocolError):
    """A message is not an ETP frame; the text says which part is wrong.

    Attributes:
        frame: the message as it came, text or bytes; ``None`` where there is none. The text holds nothing of it.
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
    """Data that is not JSON where JSON was expected, or a value that cannot become wire text.

    Attributes:
        is_outgoing: whether this side was to send it, rather than the peer sent it.
        is_answer: whether it is the data of an answer. A handler that lets such an error pass has failed itself: the
            event it handles is not at fault.
    """

    def __init__(self, text: str = "", *, is_outgoing: bool = False, is_answer: bool = False) -> None:
        super().__init__(text)
        self.is_outgoing = is_outgoing
        self.is_answer = is_answer


class InvalidRoomName(EtpError):
    """A room name that is not text of at most 1,000 characters, or a user who has no room."""


class EventFailed(EtpError):
    """An event failed at the peer; raise it in a handler to tell a peer that speaks ``etp.ext.v1``.

    Attributes:
        code: ``handler_error``, ``unknown_event``, ``invalid_payload``, ``permission_denied``, ``rate_limited``,
            ``too_many_events``, or one of the application's own.
        message: a sentence for people.
        is_from_peer: whether a peer said so. A handler that lets such a failure pass has failed itself: what one peer
            says is not passed on to another.
    """

    def __init__(self, code: str, message: str = "", *, is_from_peer: bool = False) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.is_from_peer = is_from_peer

    def __str__(self) -> str:
        text = f"{self.code}: {self.message}" if self.message else str(self.code)
        # One line, whatever a peer wrote: it goes into logs.
        return text if text.isprintable() else repr(text)[1:-1]


class AckTimeout(EtpError, TimeoutError):
    """The peer did not answer an event in time."""


class ConnectionClosed(EtpError):
    """The connection is gone, unknown, or was closed before the answer came."""


class RejectConnection(EtpError):
    """Raise it in an ``on_connect`` hook to refuse the connection.

    Before the accept the peer sees HTTP 403; after it, close code 4403 with the reason.
    """

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason


class EventAlreadyRegistered(EtpError):
    """Two handlers were registered for one event; the text names both places."""


class LayerUnavailable(EtpError):
    """The channel layer did not confirm a send in time; local members have had the event already."""


class MessagesLost(EtpError):
    """The channel layer dropped messages on the way to this process; reported to ``on_error``.

    Attributes:
        group: the channel-layer group whose messages are missing.
        messages: how many layer messages are missing.
        frames: how many events were in them.
        room: the room whose messages are missing; ``None`` where they went to single connections, to a whole namespace
            or to a room that nobody in this process is in any more.
        namespace: the namespace whose messages are missing; ``None`` where nobody in this process is in the room.
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
    """Not every process answered in time; ``answer`` holds what did come."""

    def __init__(self, text: str, *, answer: object = None) -> None:
        super().__init__(text)
        self.answer = answer


class SyncCallInEventLoop(EtpError, RuntimeError):
    """A synchronous twin was called on a thread where an event loop runs; await its ``a…`` twin."""


def describe(error: BaseException) -> str:
    """Return the class and the text of an error for use inside a sentence: without a full stop at the end."""
    text = str(error).rstrip(" .")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
