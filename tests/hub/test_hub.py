"""The connections and rooms of one process, as handlers, other code and the channel layer meet them."""

import math
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from channels.layers import get_channel_layer
from django.core.cache.backends.locmem import LocMemCache

from django_etp import Connection, Event, IncompleteAnswer, MessagesLost, etp_event, on_connect, on_error, rooms
from django_etp.cluster.gaps import Loss
from django_etp.cluster.messages import HUB_PREFIX, Malformed
from django_etp.hub.hub import Hub
from django_etp.hub.names import group_name
from django_etp.hub.process import process_hub
from tests.support.inprocess import Wire
from tests.support.stored import content_of, make_session, store_class, use_engine

pytestmark = pytest.mark.usefixtures("etp_registry")


def hub() -> Hub:
    """Return the hub of the running loop."""
    hub = process_hub()
    assert hub is not None
    return hub


# Joining and leaving


@pytest.mark.parametrize("names", [["x"], ["x", "y"], list("abcdefghij")], ids=len)
async def test_rooms_that_one_handler_joins_and_the_next_leaves_at_once_are_not_heard(names: list[str]) -> None:
    @etp_event("join")
    async def join(connection: Connection, event: Event) -> None:
        await connection.ajoin(*names)

    @etp_event("leave")
    async def leave(connection: Connection, event: Event) -> None:
        await connection.aleave(*names)

    async with Wire() as wire:
        for frame in ("join||1", "leave||2"):
            wire.put(frame)
        assert {await wire.text(), await wire.text()} == {"__ack_join||1", "__ack_leave||2"}
        assert await rooms.anames() == []
        heard = set(get_channel_layer().groups)
        assert heard.isdisjoint({rooms.group_name(name) for name in names})


# Queries


class StuckCache(LocMemCache):
    """A cache that takes nothing while it is told to."""

    door = threading.Event()

    def set(self, *args: Any, **options: Any) -> None:
        StuckCache.door.wait(5)
        super().set(*args, **options)


@pytest.fixture
def stuck(settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Iterator[threading.Event]:
    """Keep sessions in a cache that is stuck once the event is cleared, for 5 s at most."""
    use_engine("cache", settings, monkeypatch, tmp_path)
    settings.CACHES = {"default": {"BACKEND": f"{__name__}.StuckCache", "LOCATION": str(tmp_path)}}
    monkeypatch.setattr(StuckCache, "door", door := threading.Event())
    door.set()
    yield door
    door.set()


async def test_the_timeout_of_a_question_holds_for_the_own_process_too(stuck: threading.Event) -> None:
    ids: list[str] = []

    @on_connect
    async def keep(connection: Connection) -> None:
        ids.append(connection.id)

    key = make_session()
    async with Wire(session=store_class()(key)):
        stuck.clear()
        began_at = time.monotonic()
        with pytest.raises(IncompleteAnswer, match=r"within 0\.5 s"):
            await rooms.aupdate_data(ids[0], {"seat": 1}, timeout=0.5)
        assert 0.4 < time.monotonic() - began_at < 3
        stuck.set()
        # What has begun goes on, and is done for the next who asks.
        assert await rooms.aupdate_data(ids[0], {"row": 2}) == {"seat": 1, "row": 2}
        assert content_of(key) == {"etp": {ids[0]: {"seat": 1, "row": 2}}}


async def test_what_the_own_process_refuses_to_answer_is_raised() -> None:
    async with Wire():
        with pytest.raises(Malformed, match="is unknown here"):
            await hub().ask(None, "unheard of", "default", timeout=5)


@pytest.mark.parametrize(
    ("action", "arguments"), [("ask_one", ["id", "question", ""]), ("ask_rooms", [["lobby"], "question", ""])]
)
async def test_a_time_that_is_no_number_is_refused_before_a_timer_takes_it(action: str, arguments: list[Any]) -> None:
    """In asyncio's heap of timers a NaN is neither early nor late: others behind it would be minutes late."""
    async with Wire():
        with pytest.raises(Malformed, match="does not take the arguments"):
            await hub().ask(None, action, "default", *arguments, math.nan, timeout=5)


# What the layer lost


def tell_losses(*namespaces: str) -> list[tuple[str, MessagesLost]]:
    """Return a list that will hold what on_error of each namespace is told of losses."""
    told: list[tuple[str, MessagesLost]] = []
    for namespace in namespaces:

        @on_error(namespace=namespace)
        async def keep(connection: Connection | None, error: Exception, namespace: str = namespace) -> None:
            assert connection is None
            assert isinstance(error, MessagesLost)
            told.append((namespace, error))

    return told


async def lose(group: str) -> None:
    """Do as where the layer has lost two messages with three events to a group."""
    hub().report_loss(Loss(group, 2, 3))
    await hub().settle(10)


async def test_a_loss_of_what_went_to_single_connections_is_told_to_all_namespaces_that_have_had_any() -> None:
    told = tell_losses("default", "game", "left", "never")
    async with Wire(namespace="left"):
        pass
    async with Wire(), Wire(namespace="game"):
        group = f"{HUB_PREFIX}{hub().id}"
        await lose(group)
    assert sorted(namespace for namespace, _ in told) == ["default", "game", "left"]
    for _, error in told:
        assert "2 messages with 3 events" in str(error)
        assert "sent to single connections." in str(error)
        assert (error.group, error.messages, error.frames) == (group, 2, 3)
    assert all((error.namespace, error.room) == (namespace, None) for namespace, error in told)


@pytest.mark.parametrize(("room", "words"), [("lobby", "of room 'lobby'."), (None, "of the whole namespace.")])
async def test_a_loss_of_a_room_is_told_to_its_namespace_alone(room: str | None, words: str) -> None:
    told = tell_losses("default", "game")

    @on_connect(namespace="game")
    async def join(connection: Connection) -> None:
        await connection.ajoin("lobby")

    async with Wire(), Wire(namespace="game"):
        await lose(group_name("game", room))
    ((namespace, error),) = told
    assert namespace == "game"
    assert words in str(error)
    assert (error.namespace, error.room) == ("game", room)


async def test_a_loss_of_a_room_that_was_left_meanwhile_does_not_claim_the_whole_namespace() -> None:
    told = tell_losses("default", "game")
    async with Wire(namespace="game"):
        await lose(group_name("game", "left"))
    ((_, error),) = told
    assert "of a room that has no members here any more." in str(error)
    assert (error.namespace, error.room) == (None, None)
