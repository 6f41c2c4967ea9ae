"""Hubs that missed messages, or joined late, learn the last numbers of streams; minutes of waiting pass at once."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer

from django_etp.cluster.directory import Directory
from django_etp.cluster.host import Host
from django_etp.cluster.inquiries import Inquiries
from django_etp.cluster.liveness import Liveness
from django_etp.cluster.messages import Beat, Evicted, Frame, Malformed, Numbers, RoomMessage, Wanted, pack
from django_etp.cluster.publisher import Publisher
from django_etp.cluster.tasks import Tasks
from django_etp.cluster.traffic import Traffic
from django_etp.cluster.transport import Transport
from django_etp.hub.hub import Hub
from django_etp.hub.names import group_name
from django_etp.hub.queries import answer
from tests.support.hurry import hurried, stand_still
from tests.support.layers import SharedLayer


@pytest.fixture(autouse=True)
def layer(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The layer of the settings, which is empty and there."""
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "tests.support.layers.SharedLayer", "CONFIG": {"expiry": 0}}}
    monkeypatch.setattr(SharedLayer, "memory", InMemoryChannelLayer(capacity=10_000))
    monkeypatch.setattr(SharedLayer, "deaf", frozenset())
    monkeypatch.setattr(SharedLayer, "lost", frozenset())
    monkeypatch.setattr(SharedLayer, "sent", [])


class Process:
    """A hub with one connection, which gets what is sent to its rooms, and the losses that are reported."""

    def __init__(self, *, is_serving: bool = True) -> None:
        self.hub = Hub(asyncio.get_running_loop(), answer, is_serving=is_serving)
        self.texts: list[str] = []
        self.lost: dict[str, int] = {}
        self.hub.report = self._report
        self.member: Any = SimpleNamespace(
            id=self.hub.new_connection_id(), namespace="default", is_accepted=True, deliver=self.texts.append
        )

    async def join(self, *rooms: str) -> None:
        await self.hub.join(self.member, list(rooms))

    async def emit(self, room: str, first: int, last: int) -> None:
        """Send numbers to a room, one message each."""
        for number in range(first, last + 1):
            await self.hub.sent(self.hub.send("default", [room], str(number), frozenset()))

    def cut_off(self) -> None:
        SharedLayer.deaf = SharedLayer.channels_of(self.hub.id)

    def come_back(self) -> None:
        SharedLayer.deaf = frozenset()

    async def _report(self, namespace: str, error: Any) -> None:
        self.lost[error.room] = self.lost.get(error.room, 0) + error.frames


@asynccontextmanager
async def serving() -> AsyncIterator[Process]:
    process = Process()
    await process.hub.start()
    process.hub.add(process.member)
    yield process
    await process.hub.remove(process.member)
    process.hub.stop_serving()
    await process.hub.stop()


def asked() -> list[list[str]]:
    """Return the groups of each request so far."""
    return [message["groups"] for _, message in SharedLayer.sent if message["type"] == "etp.wanted"]


@pytest.mark.parametrize("cut", [4, 45, 900])
@pytest.mark.parametrize("room", ["known", "new", "quiet", "never heard"])
def test_what_was_sent_during_a_cut_of_any_length_is_reported_though_no_event_follows(cut: int, room: str) -> None:
    """To a room with events before, to one without any, and to two with events before the hub joined it."""

    @hurried
    async def test() -> None:
        async with serving() as sender, serving() as receiver:
            before = {"known": 10, "new": 0, "quiet": 10, "never heard": 10}[room]
            if room in ("quiet", "never heard"):
                await sender.emit(room, 1, before)
                await asyncio.sleep(100 if room == "quiet" else 0)
            await receiver.join(room)
            if room == "known":
                await sender.emit(room, 1, before)
            await asyncio.sleep(5)
            receiver.cut_off()
            await sender.emit(room, 11, 60)
            await asyncio.sleep(cut)
            receiver.come_back()
            await asyncio.sleep(30)
            assert receiver.texts == ([str(number) for number in range(1, 11)] if room == "known" else [])
            assert receiver.lost == {room: 50}
            await sender.emit(room, 61, 62)
            await asyncio.sleep(30)
            assert receiver.texts[-2:] == ["61", "62"]
            assert receiver.lost == {room: 50}

    test()


@hurried
async def test_nothing_is_reported_that_was_sent_before_a_hub_joined_or_that_arrived():
    async with serving() as sender, serving() as receiver:
        await sender.emit("room", 1, 50)
        await receiver.join("room", "other")
        await sender.emit("room", 51, 60)
        await sender.emit("other", 1, 10)
        await asyncio.sleep(2)
        receiver.cut_off()
        await asyncio.sleep(45)
        receiver.come_back()
        await asyncio.sleep(60)
        assert receiver.texts == [*(str(number) for number in range(51, 61)), *(str(number) for number in range(1, 11))]
        assert receiver.lost == {}


@pytest.mark.parametrize("skew", [-3600.0, -0.3, 0.3, 5.0, 3600.0])
def test_the_clocks_of_two_machines_are_not_compared(skew: float, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = time.time

    @hurried
    async def test() -> None:
        async with serving() as sender, serving() as receiver:
            # The streams of the sender begin with its own clock; nothing else looks at this one.
            with monkeypatch.context() as patch:
                patch.setattr(time, "time", lambda: clock() + skew)
                await sender.emit("old", 1, 50)
                await receiver.join("old", "new")
                await sender.emit("old", 51, 51)
                await asyncio.sleep(2)
                receiver.cut_off()
                await sender.emit("new", 1, 5)
                await asyncio.sleep(45)
                receiver.come_back()
                await sender.emit("new", 6, 6)
                await asyncio.sleep(30)
        assert receiver.texts == ["51", "6"]
        assert receiver.lost == {"new": 5}

    test()


@hurried
async def test_other_hubs_repeat_what_a_sender_announced_that_has_ended_meanwhile():
    async with serving() as receiver, serving():
        async with serving() as ending:
            await receiver.join("room")
            await asyncio.sleep(60)
            receiver.cut_off()
            script = Process(is_serving=False)
            await script.emit("room", 1, 50)
            await asyncio.sleep(1)
            await script.hub.stop()
            await ending.emit("room", 51, 60)
        await asyncio.sleep(100)
        receiver.come_back()
        await asyncio.sleep(30)
        assert receiver.texts == []
        assert receiver.lost == {"room": 60}


@hurried
async def test_the_first_messages_of_a_script_are_reported_though_nobody_can_be_asked():
    async with serving() as receiver:
        await receiver.join("room")
        await asyncio.sleep(1)
        script = Process(is_serving=False)
        receiver.cut_off()
        await script.emit("room", 1, 10)
        receiver.come_back()
        await script.emit("room", 11, 11)
        await script.hub.stop()
        await asyncio.sleep(20)
        assert receiver.texts == ["11"]
        assert receiver.lost == {"room": 10}


@pytest.mark.parametrize("before", [0.01, 0.4, 5.0, 100.0])
def test_what_a_script_sent_before_a_hub_joined_is_not_reported_though_nobody_can_be_asked(before: float) -> None:
    @hurried
    async def test() -> None:
        async with serving() as receiver:
            script = Process(is_serving=False)
            await script.emit("room", 1, 10)
            await asyncio.sleep(before)
            await receiver.join("room")
            await script.emit("room", 11, 11)
            await script.hub.stop()
            await asyncio.sleep(60)
            assert receiver.texts == ["11"]
            assert receiver.lost == {}

    test()


@pytest.mark.parametrize("after", [0.01, 0.1, 0.2, 0.3, 0.5])
def test_a_message_just_before_a_hub_joined_is_not_reported_whoever_answers(after: float) -> None:
    """Other hubs may not have heard of its number yet when they are asked."""

    @hurried
    async def test() -> None:
        async with serving(), serving(), serving() as receiver:
            script = Process(is_serving=False)
            for number in range(1, 20):
                await asyncio.sleep(1)
                await script.emit("room", number, number)
                if number == 10:
                    await asyncio.sleep(after)
                    await receiver.join("room")
            await asyncio.sleep(60)
            assert receiver.texts == [str(number) for number in range(11, 20)]
            assert receiver.lost == {}
            await script.hub.stop()

    test()


@hurried
async def test_a_hub_that_was_evicted_asks_what_it_missed():
    async with serving() as sender, serving() as receiver:
        await receiver.join("room")
        await sender.emit("room", 1, 10)
        await asyncio.sleep(2)
        group = group_name("default", "room")
        (channel,) = SharedLayer.channels_of(receiver.hub.id) & set(SharedLayer.memory.groups[group])
        await SharedLayer.memory.group_discard(group, channel)
        await sender.emit("room", 11, 30)
        await asyncio.sleep(60)
        await SharedLayer().group_send("etp.control", pack(Evicted(receiver.hub.id)))
        await asyncio.sleep(10)
        assert receiver.lost == {"room": 20}
        await sender.emit("room", 31, 31)
        await asyncio.sleep(1)
        assert receiver.texts[-1] == "31"


@hurried
async def test_a_hub_that_stood_still_asks_what_it_missed():
    async with serving() as sender, serving() as receiver:
        await receiver.join("room")
        await asyncio.sleep(5)
        SharedLayer.sent.clear()
        await sender.emit("room", 1, 1)
        stand_still(20)
        await asyncio.sleep(10)
        group = group_name("default", "room")
        assert sum(group in groups for groups in asked()) == 3


@hurried
async def test_hubs_ask_for_the_groups_that_they_join_and_for_nothing_else():
    async with serving(), serving() as receiver:
        await receiver.join("one", "two")
        await asyncio.sleep(1)
        joined = {group for groups in asked() for group in groups}
        assert joined >= {group_name("default", room) for room in ("one", "two")}
        SharedLayer.sent.clear()
        await asyncio.sleep(3600)
        assert asked() == []


@hurried
async def test_a_hub_alone_asks_nobody():
    async with serving() as receiver:
        await receiver.join("room")
        await asyncio.sleep(60)
        assert asked() == []


# One node alone


class Site:
    """The requests and answers of one node, which is in as many groups as it is told to be."""

    id = "me"

    def __init__(self, groups: int = 1) -> None:
        host: Host = self  # type: ignore[assignment]
        self.transport = Transport("default")
        self.directory = Directory()
        self.liveness = Liveness(receives_rooms=True)
        self.traffic = Traffic(host, self.liveness, lambda stream: stream.startswith("me."))
        self.publisher = Publisher("me", self.transport.send, lambda message: self.transport.send("all", message))
        self.tasks = Tasks()
        self.inquiries = Inquiries(
            "etp.ask.me",
            transport=self.transport,
            directory=self.directory,
            liveness=self.liveness,
            publisher=self.publisher,
            traffic=self.traffic,
            groups=lambda: tuple(f"etp.room.{number}" for number in range(groups)),
            run=self.tasks.run,
        )

    def deliver_frame(self, group: str, frame: Frame) -> None:
        """Do nothing: there are no members."""

    async def answers(self, wanted: Wanted) -> list[dict[str, Any]]:
        """Return the answers to a request."""
        SharedLayer.sent.clear()
        self.inquiries.receive_request(wanted)
        await asyncio.sleep(1)
        return [message for group, message in SharedLayer.sent if group == wanted.answer_to]


@hurried
async def test_a_node_in_very_many_groups_asks_for_all():
    site = Site(groups=501)
    site.inquiries.ask_all()
    site.inquiries.look(1.0)
    await asyncio.sleep(0)
    assert asked() == [[]]


@hurried
async def test_a_request_says_for_how_long_nothing_arrived():
    site = Site()
    await asyncio.sleep(1000)
    site.liveness.record_control(900)
    site.liveness.record_control(1000)
    site.inquiries.look(1000)
    site.inquiries.look(1000.5)
    site.inquiries.look(1002)
    site.inquiries.look(1008)
    site.inquiries.look(1100)
    await asyncio.sleep(0)
    assert [message["within"] for _, message in SharedLayer.sent] == [160, 162, 168]


@hurried
async def test_a_request_about_a_doubt_asks_for_no_stream_that_the_node_may_have_forgotten():
    """Else it would take the messages of that stream for missing."""
    site = Site()
    site.directory.record(Beat("serving", 1, 2.0, "a", "b"), 0)
    site.traffic.joined("etp.room.r")
    site.inquiries.look(1.0)
    await asyncio.sleep(3600)
    site.traffic.receive(RoomMessage("etp.room.r", "serving.1", 0.0, 2, 1, ["x"], 1.0))
    site.inquiries.look(3601.0)
    await asyncio.sleep(0)
    assert [message["groups"] for _, message in SharedLayer.sent] == [["etp.room.r"]] * 2
    assert all(message["within"] < 1800 for _, message in SharedLayer.sent)


@hurried
async def test_an_answer_holds_own_numbers_and_those_of_publishers_that_do_not_answer():
    site = Site()
    site.directory.record(Beat("serving", 1, 2.0, "a", "b"), 0)
    for name in ("serving.1", "script.1"):
        site.inquiries.receive_numbers(Numbers([["etp.room.r", name, 0.0, 7, 7]], [3.0]))
    site.publisher.publish(["etp.room.r"], Frame("x"))
    await asyncio.sleep(10)
    answers = await site.answers(Wanted("etp.ask.b", 4, ["etp.room.r"], 60.0))
    told = [
        (message["asked"], message["is_relayed"], stream[1:2] + stream[3:], round(age))
        for message in answers
        for stream, age in zip(message["streams"], message["ages"], strict=True)
    ]
    assert told == [(4, False, ["me.1", 1, 1], 10), (4, True, ["script.1", 7, 7], 13)]
    assert await site.answers(Wanted("etp.ask.b", 4, ["etp.room.other"], 60.0)) == []
    assert await site.answers(Wanted("etp.ask.b", 4, [], 5.0)) == []
    assert await site.answers(Wanted("etp.ask.me", 4, [], 60.0)) == []


@hurried
async def test_an_answer_is_sent_in_parts():
    site = Site()
    streams = [["etp.room.r", f"script.{number}", 0.0, 1, 1] for number in range(1200)]
    site.inquiries.receive_numbers(Numbers(streams, [0.0] * 1200))
    await asyncio.sleep(5)
    answers = await site.answers(Wanted("etp.ask.b", 4, [], 60.0))
    assert [len(message["streams"]) for message in answers] == [500, 500, 200]


@pytest.mark.parametrize(
    "wanted", [Wanted("etp.room.r", 1, [], 60.0), Wanted("etp.ask.b", 1, ["g", 7], 60.0)], ids=repr
)
async def test_a_request_that_no_node_sends_is_malformed(wanted: Wanted) -> None:
    with pytest.raises(Malformed, match="must be"):
        Site().inquiries.receive_request(wanted)
