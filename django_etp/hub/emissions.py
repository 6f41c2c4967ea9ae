"""Sends that may reach a hub more than once, and are delivered once.

A send to several rooms reaches a hub once for each of their groups. An event that a relay sends may be sent again, by
the same process or another one, if the first send was not confirmed.

Rules kept here:

- The last 4,096 sends to several rooms are remembered.
- A relayed event is remembered for 60 s after it was last sent. If more than 200,000 are relayed in that time, the
  oldest are forgotten earlier.
"""

import secrets
import time
from collections import OrderedDict
from collections.abc import Iterator
from itertools import count

__all__ = ["RELAYED", "RELAYED_FOR", "REMEMBERED", "Emissions"]

# How many sends to several rooms, and batches, a hub remembers.
REMEMBERED = 4096
_MAX_NAME = 64
# The names of relayed events begin with this, which no other name does.
RELAYED = "~"
# How long a relayed event is remembered at least, in seconds.
RELAYED_FOR = 60.0
# Relayed events are remembered in two sets of at most this size: the current one, and the one before it.
_MOST_RELAYED = 200_000


class Emissions:
    """The sends that one hub has made or received lately, by their names.

    The sends of a batch share a name, and each adds its place. They come in their order through each group, so the last
    place that has come is all that is remembered.
    """

    __slots__ = ("_begun_at", "_earlier", "_names", "_relayed")

    def __init__(self) -> None:
        self._names: OrderedDict[str, str] = OrderedDict()
        self._relayed: set[str] = set()
        self._earlier: set[str] = set()
        self._begun_at = 0.0

    def new(self) -> str:
        """Return the name of a send that this hub makes. It is not delivered here again."""
        name = secrets.token_hex(8)
        self.is_first(name)
        return name

    def new_batch(self) -> Iterator[str]:
        """Return the names of the sends of a batch that this hub makes."""
        name = secrets.token_hex(8)
        return (f"{name}.{place:08x}" for place in count())

    def is_first(self, emission: str) -> bool:
        """Record a send, and return whether it was not recorded before."""
        emission = emission[:_MAX_NAME]  # it may be forged
        if emission.startswith(RELAYED):
            return self._is_first_relayed(emission)
        name, _, place = emission.partition(".")
        last = self._names.get(name)
        if last is not None and place <= last:
            return False
        self._names[name] = place
        if len(self._names) > REMEMBERED:
            self._names.popitem(last=False)
        return True

    def has_relayed(self, name: str) -> bool:
        """Return whether a relayed event is recorded."""
        return name in self._relayed or name in self._earlier

    def _is_first_relayed(self, name: str) -> bool:
        now = time.monotonic()
        age = now - self._begun_at
        if age >= RELAYED_FOR or len(self._relayed) >= _MOST_RELAYED:
            self._earlier = self._relayed if age < 2 * RELAYED_FOR else set()
            self._relayed, self._begun_at = set(), now
        is_first = not self.has_relayed(name)
        self._relayed.add(name)
        return is_first
