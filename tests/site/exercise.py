"""Exercise the rooms API in every kind of sender, and measure the cost for its process.

`room` has two members, `here` and `there`, usually in other processes than the sender. `leaving` is a connection to
close. `many` is the number of events that follow.
"""

import asyncio
import socket
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings

from django_etp import EtpError, rooms

NAMESPACE = "cluster"

_Call = tuple[str, list[Any], dict[str, Any], Callable[[Any], Any]]

loops_made = 0
_make_loop = asyncio.BaseEventLoop.__init__


def _count_and_make_loop(self: asyncio.BaseEventLoop) -> None:
    global loops_made
    loops_made += 1
    _make_loop(self)


asyncio.BaseEventLoop.__init__ = _count_and_make_loop  # type: ignore[method-assign]


def calls(room: str, here: str, there: str, leaving: str) -> Iterator[_Call]:
    """Yield the calls: a name, arguments, and a function that converts the result."""

    def call(name: str, *arguments: Any, tell: Callable[[Any], Any] = lambda result: result, **keywords: Any) -> _Call:
        return name, list(arguments), keywords, tell

    def ids(infos: list[Any]) -> list[str]:
        return sorted({info.id for info in infos} & {here, there, leaving})

    other = f"{room}-b"
    yield call("emit", room, "news", {"n": 1})
    yield call("emit", room, "news", "not here", exclude=[here])
    yield call("join", there, other)
    yield call("count", other)
    yield call("names", tell=lambda names: [name for name in names if name.startswith(room)])
    yield call("emit", [room, other], "once")
    yield call("leave", there, other)
    yield call("count", other)
    yield call("members", room, tell=ids)
    yield call("connections", tell=ids)
    yield call("get", here, tell=lambda info: list(info.rooms))
    yield call("get", "nobody")
    yield call("emit_to", there, "to", "you")
    yield call("emit_to", "nobody", "to", "you")
    yield call("emit_to_with_ack", there, "ask", "?", tell=lambda answer: answer.data)
    yield call(
        "emit_with_ack",
        room,
        "ask",
        "??",
        tell=lambda replies: sorted([reply.connection_id, reply.status] for reply in replies),
    )
    yield call("broadcast", "to all", room)
    yield call("clear", other)
    yield call("disconnect", leaving, 4001, "enough")
    yield call("disconnect", leaving)
    yield call("join", "nobody", room)
    yield call("count", "x" * 1001)
    yield call("emit", room, "two||parts")
    yield call("emit", room, "news", {"a", "set"})


def exercise_all(room: str, here: str, there: str, leaving: str, many: str) -> dict[str, Any]:
    """Make the calls, then send many events; return the results, and the cost of the many."""
    api = rooms.of(NAMESPACE)
    outcomes = []
    for name, arguments, keywords, tell in calls(room, here, there, leaving):
        try:
            outcomes.append([name, tell(getattr(api, name)(*arguments, **keywords))])
        except EtpError as error:
            outcomes.append([name, type(error).__name__])
    with Meter() as meter:
        for number in range(int(many)):
            api.emit(room, "many", number)
    return {"outcomes": outcomes, **meter.cost}


async def aexercise_all(room: str, here: str, there: str, leaving: str, many: str) -> dict[str, Any]:
    """Like exercise_all()."""
    api = rooms.of(NAMESPACE)
    outcomes = []
    for name, arguments, keywords, tell in calls(room, here, there, leaving):
        try:
            outcomes.append([name, tell(await getattr(api, f"a{name}")(*arguments, **keywords))])
        except EtpError as error:
            outcomes.append([name, type(error).__name__])
    with Meter() as meter:
        for number in range(int(many)):
            await api.aemit(room, "many", number)
    return {"outcomes": outcomes, **meter.cost}


class Meter:
    """Count the new event loops of this process, and all new connections to the broker, within a block."""

    def __init__(self) -> None:
        self.cost: dict[str, int] = {}

    def __enter__(self) -> "Meter":
        host = settings.CHANNEL_LAYERS["default"]["CONFIG"]["hosts"][0]["address"]
        self._broker = socket.create_connection((urlsplit(host).hostname, urlsplit(host).port), timeout=30)
        self._before = loops_made, self._connections()
        return self

    def __exit__(self, *_: object) -> None:
        loops, connections = self._before
        self.cost = {"loops": loops_made - loops, "connections": self._connections() - connections}
        self._broker.close()

    def _connections(self) -> int:
        self._broker.sendall(b"INFO stats\r\n")
        answer = b""
        while not answer.endswith(b"\r\n") or b"total_connections_received" not in answer:
            received = self._broker.recv(65536)
            if not received:
                raise EOFError("the broker has gone")
            answer += received
        return int(answer.partition(b"total_connections_received:")[2].split(b"\r\n")[0])
