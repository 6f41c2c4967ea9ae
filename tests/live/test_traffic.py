"""Counting the traffic of a process: by the second, and not at all unless somebody looks."""

import asyncio
import subprocess
import sys
from typing import Any

import pytest

from django_etp import Connection, Event, etp_event, rooms
from django_etp.connections.peer import Peer
from django_etp.hub.process import serving_hub
from django_etp.live import traffic
from django_etp.live.traffic import SECONDS, traffic_of
from django_etp.signals import connected, event_handled
from tests.support.inprocess import until
from tests.support.live import connect, make_hub
from tests.support.rooms import clients

pytestmark = pytest.mark.usefixtures("etp_registry")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a second pass in a hundredth of one."""
    call_at = asyncio.BaseEventLoop.call_at

    def call_soon(self: Any, when: float, callback: Any, *args: Any, context: Any = None) -> Any:
        if getattr(callback, "__name__", "") == "_end_second":
            when = self.time() + 0.01
        return call_at(self, when, callback, *args, context=context)

    monkeypatch.setattr(asyncio.BaseEventLoop, "call_at", call_soon)


async def test_events_and_frames_count_in_their_second(quick: None) -> None:
    @etp_event("echo")
    async def echo(connection: Connection, event: Event) -> str:
        return event.data

    async with clients("lobby", "lobby") as (one, two):
        counted = traffic_of(serving_hub())
        counted.look()
        for _ in range(3):
            await one.emit_with_ack("echo", "data")
        await rooms.aemit("lobby", "news")
        for client in (one, two):
            await client.expect_event("news")
        await until(lambda: sum(frames for _, frames in counted.seconds) == 5)
        assert sum(events for events, _ in counted.seconds) == 3
        assert (counted.meters[one.id].events, counted.meters[one.id].frames) == (3, 4)
        assert (counted.meters[two.id].events, counted.meters[two.id].frames) == (0, 1)


async def test_connections_that_come_later_count_and_those_that_go_are_forgotten(quick: None) -> None:
    async with clients("") as (first,):
        counted = traffic_of(serving_hub())
        counted.look()
        async with clients("") as (second,):
            await rooms.aemit_to(second.id, "news")
            await second.expect_event("news")
            assert set(counted.meters) == {first.id, second.id}
        await until(lambda: set(counted.meters) == {first.id})
        await until(lambda: sum(frames for _, frames in counted.seconds) == 1)
        assert all(frames >= 0 for _, frames in counted.seconds)


async def test_counting_ends_after_the_last_look(quick: None) -> None:
    async with clients("") as (client,):
        hub = serving_hub()
        peer = hub.membership.find(client.id)
        assert isinstance(peer, Peer)
        send, receivers = peer.outbox._send, (len(connected.receivers), len(event_handled.receivers))
        counted = traffic_of(hub)
        counted.look()
        assert counted.is_counting
        assert peer.outbox._send is not send
        await until(lambda: not counted.is_counting)
        assert peer.outbox._send is send
        assert (len(connected.receivers), len(event_handled.receivers)) == receivers
        assert traffic_of(hub) is not counted
        assert not traffic_of(hub).is_counting


async def test_each_look_lets_it_go_on_and_a_minute_is_kept(quick: None) -> None:
    counted = traffic_of(serving_hub())
    counted.look()
    for number in range(SECONDS + 10):
        due = counted._due
        await until(lambda due=due: counted._due > due)
        counted.look()
        counted._looked_at = counted._due  # the seconds are short here
        assert len(counted.seconds) == min(number + 1, SECONDS)
    assert counted.is_counting


async def test_a_hub_counts_its_own_connections_only(settings: Any) -> None:
    settings.CHANNEL_LAYERS = {}
    one, other = make_hub(), make_hub()
    counted = [traffic_of(hub) for hub in (one, other)]
    for each in counted:
        each.look()
    peer = connect(one)
    for signal in (connected, event_handled):
        signal.send(None, connection=Connection(peer))
    assert [set(each.meters) for each in counted] == [{peer.id}, set()]
    assert [each._events for each in counted] == [1, 0]


def test_a_loop_that_has_ended_is_forgotten(settings: Any) -> None:
    settings.CHANNEL_LAYERS = {}

    async def look() -> Any:
        counted = traffic_of(make_hub())
        counted.look()
        return counted

    ended = asyncio.run(look())
    assert ended.is_counting
    asyncio.run(look())
    assert not ended.is_counting
    assert len(traffic._traffics) == 1


def test_without_the_admin_nothing_of_the_page_is_imported() -> None:
    program = """
import sys, django
from django.conf import settings
settings.configure(INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django_etp"])
django.setup()
from django_etp.signals import messages_lost, slow_client_closed
print([name for name in sys.modules if "live." in name or name == "django_etp.admin" or "meters" in name])
print(messages_lost.receivers, slow_client_closed.receivers)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[]\n[] []\n", done.stderr
