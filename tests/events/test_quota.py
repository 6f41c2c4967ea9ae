"""How many connections a user may have, in this process and in others."""

import asyncio
from typing import Any

import pytest

from django_etp import on_connect
from django_etp.exceptions import IncompleteAnswer, LayerUnavailable
from django_etp.rooms.queries import CountMembers
from tests.support.inprocess import Wire, until

pytestmark = pytest.mark.usefixtures("etp_registry")


class User:
    is_authenticated = True
    is_anonymous = False

    def __init__(self, pk: int) -> None:
        self.pk = pk


@pytest.fixture(autouse=True)
def _two_each(settings: Any) -> None:
    settings.ETP = {"MAX_CONNECTIONS_PER_USER": 2}


async def outcome(wire: Wire) -> str:
    """Return "accept" or "close" for a handshake that has begun."""
    await until(lambda: wire.sent)
    return str(wire.sent[0]["type"]).removeprefix("websocket.")


async def test_a_user_with_enough_connections_is_refused_until_one_ends() -> None:
    first = await Wire(user=User(1)).open()
    second = await Wire(user=User(1), namespace="other").open()
    third = Wire(user=User(1)).start()
    assert await outcome(third) == "close"  # before the accept: HTTP 403
    await third.leave()
    another, anonymous = await Wire(user=User(2)).open(), [await Wire().open() for _ in range(3)]
    await second.leave()
    fourth = await Wire(user=User(1)).open()
    for wire in (first, another, fourth, *anonymous):
        await wire.leave()


async def test_of_many_handshakes_at_once_the_first_two_are_accepted() -> None:
    goes_on = asyncio.Event()

    @on_connect
    async def wait(connection: Any) -> None:
        await goes_on.wait()

    wires = [Wire(user=User(1)).start() for _ in range(5)]
    await until(lambda: sum(bool(wire.sent) for wire in wires) == 3)
    goes_on.set()
    assert [await outcome(wire) for wire in wires] == ["accept", "accept", "close", "close", "close"]
    for wire in wires:
        await wire.leave()


@pytest.mark.parametrize(
    ("answer", "expected"),
    [(1, ["accept", "close"]), (2, ["close", "close"]), (IncompleteAnswer("late", answer=2), ["close", "close"])],
)
async def test_connections_in_other_processes_count(
    answer: Any, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ask(query: CountMembers, hub: Any, timeout: float) -> int:
        here = len(hub.membership.members(query.namespace, query.room))
        if isinstance(answer, IncompleteAnswer):
            raise answer
        return here + int(answer)

    monkeypatch.setattr(CountMembers, "ask", ask)  # what other processes would reply
    wires = [Wire(user=User(1)) for _ in expected]
    assert [await outcome(wire.start()) for wire in wires] == expected
    for wire in wires:
        await wire.leave()


async def test_without_the_others_those_here_count(monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask(query: CountMembers, hub: Any, timeout: float) -> int:
        raise LayerUnavailable("no broker")

    monkeypatch.setattr(CountMembers, "ask", ask)
    wires = [Wire(user=User(1)) for _ in range(3)]
    assert [await outcome(wire.start()) for wire in wires] == ["accept", "accept", "close"]
    for wire in wires:
        await wire.leave()
