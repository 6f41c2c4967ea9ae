"""Real-time events, rooms and acknowledgements for Django, over the Event Transport Protocol.

Public names are imported on first use, so that ``django_etp.protocol`` can be imported without Django.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import rooms as rooms
    from .connections.connection import Connection
    from .events.current import current_event
    from .events.registry import etp_event, etp_room, on_connect, on_disconnect, on_error, on_unknown_event
    from .exceptions import (
        AckTimeout,
        ConnectionClosed,
        DataTooLarge,
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
        NoRoomMatch,
        ProtocolError,
        RejectConnection,
        SyncCallInEventLoop,
        TooManyEvents,
        TooManyRooms,
    )
    from .hub.members import ConnectionInfo, RoomReply
    from .protocol.closing import Disconnect
    from .protocol.frames import Event
    from .rooms.model_events import model_events
    from .rooms.presence import Present
    from .rooms.warnings import EmitInTransaction
    from .schemas.outgoing import outgoing

__all__ = [
    "AckTimeout",
    "Connection",
    "ConnectionClosed",
    "ConnectionInfo",
    "DataTooLarge",
    "Disconnect",
    "EmitInTransaction",
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
    "NoRoomMatch",
    "Present",
    "ProtocolError",
    "RejectConnection",
    "RoomReply",
    "SyncCallInEventLoop",
    "TooManyEvents",
    "TooManyRooms",
    "current_event",
    "etp_event",
    "etp_room",
    "model_events",
    "on_connect",
    "on_disconnect",
    "on_error",
    "on_unknown_event",
    "outgoing",
    "rooms",
]

__version__ = "0.1.0"

_MODULES = {
    "Connection": "connections.connection",
    "ConnectionInfo": "hub.members",
    "Disconnect": "protocol.closing",
    "EmitInTransaction": "rooms.warnings",
    "Event": "protocol.frames",
    "Present": "rooms.presence",
    "RoomReply": "hub.members",
    "current_event": "events.current",
    "etp_event": "events.registry",
    "etp_room": "events.registry",
    "model_events": "rooms.model_events",
    "on_connect": "events.registry",
    "on_disconnect": "events.registry",
    "on_error": "events.registry",
    "on_unknown_event": "events.registry",
    "outgoing": "schemas.outgoing",
}


if not TYPE_CHECKING:  # type checkers would accept any name

    def __getattr__(name: str) -> Any:
        if name == "rooms":
            return import_module(".rooms", __name__)
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f".{_MODULES.get(name, 'exceptions')}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
