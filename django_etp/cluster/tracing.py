"""The hook by which a trace follows events to other processes. An app that traces sets it; by default there is none."""

from collections.abc import Callable, Sequence
from contextvars import Context
from typing import Any, Protocol

from .host import Host
from .messages import Frame, RoomMessage

__all__ = ["Tracer", "deliver_traced", "set_tracer", "tracer"]


class Tracer(Protocol):
    """Records spans of sends and deliveries."""

    def send(self, frame: Frame) -> str:
        """Record a send, and return the trace that goes with it as text; ``""`` if the caller is in none."""

    def deliver(self, trace: str, frame: Frame, deliver: Callable[[], Sequence[Any]]) -> None:
        """Call ``deliver``, which returns the members of this process, as a part of the trace of a send."""

    def carry(self, context: Context) -> None:
        """Put the caller's trace into the context of work that goes on elsewhere."""


tracer: Tracer | None = None


def set_tracer(new: Tracer | None) -> None:
    """Trace from now on, or no longer (``None``)."""
    global tracer
    tracer = new


def deliver_traced(host: Host, message: RoomMessage, frames: Sequence[Frame]) -> None:
    """Deliver the frames of a message, those with a trace as a part of it."""
    for number, frame in enumerate(frames):
        trace = message.traces.get(str(number))
        if tracer is not None and isinstance(trace, str):
            tracer.deliver(trace, frame, lambda frame=frame: host.deliver_frame(message.group, frame))  # type: ignore[misc]
        else:
            host.deliver_frame(message.group, frame)
