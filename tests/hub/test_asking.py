"""Queries that a hub asks: the replies of its own process, the time limit, and what is under way."""

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache.backends.locmem import LocMemCache

from django_etp import Connection, IncompleteAnswer, on_connect, rooms
from django_etp.cluster.messages import Malformed
from django_etp.hub.process import serving_hub
from tests.support.inprocess import Wire
from tests.support.stored import content_of, make_session, store_class, use_engine

pytestmark = pytest.mark.usefixtures("etp_registry")


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
            await serving_hub().ask(None, "unheard of", "default", timeout=5)


async def test_a_query_to_one_hub_is_answered_by_that_one_alone() -> None:
    async with Wire():
        hub = serving_hub()
        assert await hub.ask(hub.id, "names", "default", timeout=5) == [[]]
        assert await hub.ask(None, "names", "default", timeout=5) == [[]]
        assert await hub.ask("f" * 16, "names", "default", timeout=5) == []


async def test_the_hub_is_idle_once_all_its_queries_have_ended(stuck: threading.Event) -> None:
    key = make_session()
    async with Wire(session=store_class()(key)):
        hub = serving_hub()
        await hub.asker.wait_until_idle()
        (member,) = hub.membership.all()
        stuck.clear()
        slow = asyncio.ensure_future(rooms.aupdate_data(member.id, {"seat": 1}))
        quick = asyncio.ensure_future(rooms.anames())
        idle = asyncio.ensure_future(hub.asker.wait_until_idle())
        await quick
        assert not idle.done()
        stuck.set()
        await idle
        assert slow.done() or await slow
