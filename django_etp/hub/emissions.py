"""Sends to several rooms: each reaches a hub once for each of their groups, and is delivered once."""

import secrets
from collections import OrderedDict
from collections.abc import Iterator
from itertools import count

__all__ = ["REMEMBERED", "Emissions"]

# How many sends to several rooms, and batches, a hub remembers.
REMEMBERED = 4096
_MAX_NAME = 64


class Emissions:
    """The sends to several rooms that one hub has made or received lately, by their names.

    The sends of a batch share a name, and each adds its place. They come in their order through each group, so the last
    place that has come is all that is remembered.
    """

    __slots__ = ("_names",)

    def __init__(self) -> None:
        self._names: OrderedDict[str, str] = OrderedDict()

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
        name, _, place = emission[:_MAX_NAME].partition(".")  # it may be forged
        last = self._names.get(name)
        if last is not None and place <= last:
            return False
        self._names[name] = place
        if len(self._names) > REMEMBERED:
            self._names.popitem(last=False)
        return True
