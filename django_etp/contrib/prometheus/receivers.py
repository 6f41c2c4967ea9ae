"""Count what the signals of the package report."""

from typing import Any

from django_etp.connections.connection import Connection
from django_etp.exceptions import MessagesLost
from django_etp.protocol.closing import Disconnect
from django_etp.signals import (
    connected,
    disconnected,
    event_handled,
    messages_lost,
    room_sent,
    slow_client_closed,
)

from . import metrics

__all__ = ["connect_receivers"]


def connect_receivers() -> None:
    """Receive the signals from now on."""
    connected.connect(_count_connection)
    disconnected.connect(_count_disconnect)
    event_handled.connect(_count_event)
    room_sent.connect(_count_send)
    messages_lost.connect(_count_loss)
    slow_client_closed.connect(_count_slow_client)


def _count_connection(*, connection: Connection, **_: Any) -> None:
    metrics.CONNECTIONS.labels(connection.namespace).inc()


def _count_disconnect(*, connection: Connection, disconnect: Disconnect, **_: Any) -> None:
    metrics.CONNECTIONS.labels(connection.namespace).dec()
    metrics.DISCONNECTS.labels(connection.namespace, metrics.code_label(disconnect.code)).inc()


def _count_event(*, connection: Connection, name: str | None, seconds: float, outcome: str, **_: Any) -> None:
    labels = connection.namespace, metrics.event_label(name)
    metrics.EVENTS.labels(*labels, metrics.outcome_label(outcome)).inc()
    metrics.EVENT_SECONDS.labels(*labels).observe(seconds)


def _count_send(*, namespace: str, **_: Any) -> None:
    metrics.ROOM_SENDS.labels(namespace).inc()


def _count_loss(*, error: MessagesLost, **_: Any) -> None:
    namespace = error.namespace or ""
    metrics.MESSAGES_LOST.labels(namespace).inc(error.messages)
    metrics.EVENTS_LOST.labels(namespace).inc(error.frames)


def _count_slow_client(*, connection: Connection, **_: Any) -> None:
    metrics.SLOW_CLIENTS.labels(connection.namespace).inc()
