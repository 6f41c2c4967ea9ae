"""What this process has lost since it started: messages of the channel layer, and clients that read too slowly.

These are rare, so they are counted at all times.
"""

import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from django_etp.exceptions import MessagesLost
from django_etp.signals import messages_lost, slow_client_closed

__all__ = ["Losses", "connect_receivers", "losses"]

# How many of the last losses are kept with their rooms.
_KEPT = 20


@dataclass
class Losses:
    """Counts, and the last losses.

    Attributes:
        messages: how many messages the channel layer has lost on the way to this process.
        events: how many events were in them.
        slow_clients: how many connections were closed since their clients read too slowly.
        last: of the last losses of messages, the time in seconds since 1970, the namespace, the room, and the number of
            events, the latest one last.
    """

    messages: int = 0
    events: int = 0
    slow_clients: int = 0
    last: deque[tuple[float, str, str, int]] = field(default_factory=lambda: deque(maxlen=_KEPT))

    def count_messages(self, *, error: MessagesLost, **_: Any) -> None:
        """Count a loss of the channel layer."""
        self.messages += error.messages
        self.events += error.frames
        self.last.append((time.time(), error.namespace or "", str(error.room or ""), error.frames))

    def count_slow_client(self, **_: Any) -> None:
        """Count a client that read too slowly."""
        self.slow_clients += 1


losses = Losses()


def connect_receivers() -> None:
    """Count from now on."""
    messages_lost.connect(losses.count_messages)
    slow_client_closed.connect(losses.count_slow_client)
