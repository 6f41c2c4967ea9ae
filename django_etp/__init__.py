"""Real-time events, rooms and acknowledgements for Django, over the Event Transport Protocol.

The public names are loaded on first use, so that ``django_etp.protocol`` can be imported without Django.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import rooms as rooms
    from .closing import Disconnect
    from .connection import Connection
    from .exceptions import (
        AckTimeout,
        ConnectionClosed,
        EtpError,
        EventAlreadyRegistered,
        EventFailed,
        IncompleteAnswer,
        InvalidCloseCode,
        InvalidEventName,
        InvalidFrame,
        InvalidPayload,
        InvalidRoomName,
        LayerUnavailable,
        MessagesLost,
        MessageTooLarge,
        ProtocolError,
        RejectConnection,
        SyncCallInEventLoop,
        TooManyEvents,
    )
    from .members import ConnectionInfo, RoomReply
    from .protocol import Event
    from .registry import etp_event, on_connect, on_disconnect, on_error, on_unknown_event

__all__ = [
    "AckTimeout",
    "Connection",
    "ConnectionClosed",
    "ConnectionInfo",
    "Disconnect",
    "EtpError",
    "Event",
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
    "RoomReply",
    "SyncCallInEventLoop",
    "TooManyEvents",
    "etp_event",
    "on_connect",
    "on_disconnect",
    "on_error",
    "on_unknown_event",
    "rooms",
]

__version__ = "0.1.0"

_MODULES = {
    "Connection": "connection",
    "ConnectionInfo": "members",
    "Disconnect": "closing",
    "Event": "protocol",
    "RoomReply": "members",
    "etp_event": "registry",
    "on_connect": "registry",
    "on_disconnect": "registry",
    "on_error": "registry",
    "on_unknown_event": "registry",
}


def __getattr__(name: str) -> Any:
    if name == "rooms":
        return import_module(".rooms", __name__)
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES.get(name, 'exceptions')}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
