"""Sends to several rooms: each reaches a hub once for each of their groups, and is delivered once."""

import secrets
from collections import OrderedDict

__all__ = ["REMEMBERED", "Emissions"]

# How many sends to several rooms a hub remembers.
REMEMBERED = 4096
_MAX_NAME = 64


class Emissions:
    """The sends to several rooms that one hub has made or received lately, by their names."""

    __slots__ = ("_names",)

    def __init__(self) -> None:
        self._names: OrderedDict[str, None] = OrderedDict()

    def new(self) -> str:
        """Return the name of a send that this hub makes. It is not delivered here again."""
        name = secrets.token_hex(8)
        self.is_first(name)
        return name

    def is_first(self, name: str) -> bool:
        """Record a send, and return whether it was not recorded before."""
        name = name[:_MAX_NAME]  # it may be forged
        if name in self._names:
            return False
        self._names[name] = None
        if len(self._names) > REMEMBERED:
            self._names.popitem(last=False)
        return True
