"""The metrics, in the default registry of prometheus_client.

Rules kept here:

- Every name begins with ``etp_``.
- Clients choose no label: unknown events, unknown close codes and further failure codes of the application share one.
- Each metric works in the library's multiprocess mode, too. A gauge counts the processes that live.
"""

from prometheus_client import Counter, Gauge, Histogram

__all__ = [
    "CONNECTIONS",
    "DISCONNECTS",
    "EVENTS",
    "EVENTS_LOST",
    "EVENT_SECONDS",
    "LAYER_LAG",
    "MESSAGES_LOST",
    "OUTBOX_BYTES",
    "OUTBOX_CLIENTS",
    "PUBLISH_QUEUE_BYTES",
    "PUBLISH_QUEUE_EVENTS",
    "RELAY_FAILED",
    "RELAY_LAG",
    "RELAY_WAITING",
    "ROOMS",
    "ROOM_SENDS",
    "SLOW_CLIENTS",
    "code_label",
    "event_label",
    "outcome_label",
]

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

CONNECTIONS = Gauge("etp_connections", "Open connections.", ["namespace"], multiprocess_mode="livesum")
DISCONNECTS = Counter("etp_disconnects", "Connections that have ended, by close code.", ["namespace", "code"])
EVENTS = Counter("etp_events", "Events that were handled.", ["namespace", "event", "outcome"])
EVENT_SECONDS = Histogram(
    "etp_event_seconds",
    "From the start of an event's handler until its answer was sent.",
    ["namespace", "event"],
    buckets=_BUCKETS,
)
ROOM_SENDS = Counter("etp_room_sends", "Events that this process sent to rooms or to all.", ["namespace"])
MESSAGES_LOST = Counter("etp_messages_lost", "Messages that the channel layer lost.", ["namespace"])
EVENTS_LOST = Counter("etp_events_lost", "Events in the messages that the channel layer lost.", ["namespace"])
SLOW_CLIENTS = Counter("etp_slow_clients_closed", "Connections closed because of slow clients.", ["namespace"])
ROOMS = Gauge("etp_rooms", "Rooms with a member in this process.", ["namespace"], multiprocess_mode="livesum")
PUBLISH_QUEUE_EVENTS = Gauge(
    "etp_publish_queue_events", "Events that wait for the channel layer.", multiprocess_mode="livesum"
)
PUBLISH_QUEUE_BYTES = Gauge(
    "etp_publish_queue_bytes", "The size of the events that wait for the channel layer.", multiprocess_mode="livesum"
)
OUTBOX_CLIENTS = Gauge("etp_outbox_clients", "Clients that are behind in reading.", multiprocess_mode="livesum")
OUTBOX_BYTES = Gauge("etp_outbox_bytes", "What waits for these clients.", multiprocess_mode="livesum")
LAYER_LAG = Gauge(
    "etp_layer_lag_seconds",
    "How long a message of this process to itself takes through the channel layer.",
    multiprocess_mode="livemax",
)
RELAY_LAG = Gauge(
    "etp_relay_lag_seconds",
    "The age of the first durable event that waits.",
    ["database"],
    multiprocess_mode="livemax",
)
RELAY_WAITING = Gauge(
    "etp_relay_waiting_events", "Durable events that wait.", ["database"], multiprocess_mode="livemax"
)
RELAY_FAILED = Gauge(
    "etp_relay_failed_events", "Durable events that were given up.", ["database"], multiprocess_mode="livemax"
)

_UNKNOWN = "(unknown)"
_OTHER = "(other)"
# RFC 6455's, and those of this package.
_CODES = frozenset([*range(1000, 1016), 4401, 4403])
_MOST_OUTCOMES = 64

_outcomes: set[str] = set()


def event_label(name: str | None) -> str:
    """Return the label of a registered event; one label for all others (``None``)."""
    return _UNKNOWN if name is None else name


def code_label(code: int) -> str:
    """Return the label of a close code; one label for those that applications and clients choose."""
    # daphne adds 3000 to the codes that it does not let an application send.
    code = code - 3000 if code - 3000 in _CODES else code
    return str(code) if code in _CODES else _OTHER


def outcome_label(outcome: str) -> str:
    """Return the label of an outcome; the 65th and later ones share a label, since a handler may make up codes."""
    if len(_outcomes) < _MOST_OUTCOMES:
        _outcomes.add(outcome)
    return outcome if outcome in _outcomes else _OTHER
