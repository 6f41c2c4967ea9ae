"""Events that the server sends, with the types of their payloads."""

import sys
from typing import Any, Generic, TypeVar, overload
from weakref import WeakSet

from django_etp.protocol.frames import check_event_name
from django_etp.serialization import to_text

from .adapters import writer_for
from .schema import Writer

__all__ = ["EventName", "Outgoing", "build_outgoing", "declared", "outgoing"]

_T = TypeVar("_T")

# Those whose types are looked at once all event modules are imported; None after that.
_waiting: list["Outgoing[Any]"] | None = []
# All that are in use, for etp_schema.
_declared: WeakSet["Outgoing[Any]"] = WeakSet()


class Outgoing(Generic[_T]):
    """An event that the server sends, with the type of its payload; the result of ``outgoing()``.

    Attributes:
        name: the event's name.
        type: the type of its payload.
        namespace: the namespace that it belongs to.
        place: the file and line that declare it.
    """

    __slots__ = ("__weakref__", "_writer", "name", "namespace", "place", "type")

    def __init__(self, name: str, type: Any, namespace: str, place: str) -> None:
        self.name = name
        self.type = type
        self.namespace = namespace
        self.place = place
        self._writer: Writer | None = None

    def __repr__(self) -> str:
        return f"<Outgoing {self.name!r} {self.type!r} namespace={self.namespace!r}>"

    def build(self) -> None:
        """Let the library of the type prepare what it needs to write values.

        Raises:
            TypeError: the type cannot be written; the text names the place.
        """
        try:
            self._writer = writer_for(self.type) or _Untyped()
        except Exception as error:
            raise TypeError(
                f"outgoing({self.name!r}) at {self.place} declares a type that cannot be used for payloads: {error}"
            ) from error

    def text_of(self, data: Any) -> str:
        """Return the wire text of a payload.

        Raises:
            InvalidPayload: it cannot be sent; in ``DEBUG`` and under the testing kit, also if it does not fit the type.
        """
        if self._writer is None:
            self.build()
        assert self._writer is not None
        return self._writer.write(data)


# The name of an event, or the event with the type of its payload, wherever an event is sent.
EventName = str | Outgoing[_T]


class _Untyped:
    """The writer of a type such as ``Any``, which the encoder of the project writes."""

    uses_database = False

    def write(self, value: Any) -> str:
        """See Writer.write()."""
        return to_text(value)

    def json_schema(self, *, is_sent: bool) -> dict[str, Any]:
        """See Reader.json_schema()."""
        return {}


@overload
def outgoing(name: str, type: type[_T], *, namespace: str = "default") -> Outgoing[_T]: ...


@overload
def outgoing(name: str, type: object, *, namespace: str = "default") -> Outgoing[Any]: ...


def outgoing(name: str, type: Any, *, namespace: str = "default") -> Outgoing[Any]:
    """Declare an event that the server sends, for use in place of its name: ``rooms.emit("lobby", said, message)``.

    The library of the type writes the payload; see etp_event(). Type checkers check it, and so do ``DEBUG`` and the
    testing kit. For a type that is no class, such as ``int | None``, type checkers know no more than ``Any``.

    Args:
        name: the event's name.
        type: the type of its payload.
        namespace: the namespace that it belongs to.

    Raises:
        InvalidEventName: ETP cannot carry the name, or reserves it.
        TypeError: the type cannot be written, or the namespace is not str.
    """
    check_event_name(name)
    if not isinstance(namespace, str):
        raise TypeError(f"The name of a namespace must be str, got {namespace!r:.80}.")
    caller = sys._getframe(1)
    event: Outgoing[Any] = Outgoing(name, type, namespace, f"{caller.f_code.co_filename}:{caller.f_lineno}")
    if _waiting is None:
        event.build()
    else:
        _waiting.append(event)
    _declared.add(event)
    return event


def declared() -> list[Outgoing[Any]]:
    """Return the declared events of all namespaces, by their names and places."""
    return sorted(_declared, key=lambda event: (event.name, event.place))


def build_outgoing() -> None:
    """Build the declared events, and from now on each one when it is declared: all event modules are imported."""
    global _waiting
    waiting, _waiting = _waiting, None
    for event in waiting or ():
        event.build()
