"""The link over an in-memory layer, with that layer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from channels.layers import InMemoryChannelLayer

from django_etp.cluster.links import InMemoryLink
from django_etp.cluster.messages import Foreign
from tests.support.hurry import hurried
from tests.support.inprocess import until


class Place:
    """An in-memory layer, a link over it, and the events of other Channels code that arrived."""

    id = "a" * 16

    def __init__(self) -> None:
        self.layer = InMemoryChannelLayer()
        self.link = InMemoryLink(self, self.layer)  # type: ignore[arg-type]  # of a hub it is all that is used
        self.came: list[str] = []

    def deliver_foreign(self, message: Foreign) -> None:
        self.came.append(message.event)

    async def send(self, group: str, event: str) -> None:
        """Send as other Channels code does."""
        await self.layer.group_send(group, {"type": "etp.emit", "room": "r", "event": event})


@asynccontextmanager
async def place() -> AsyncIterator[Place]:
    place = Place()
    yield place
    await place.link.stop()


@hurried
async def test_events_of_other_code_to_a_joined_group_arrive():
    async with place() as here:
        await here.link.join("a")
        await here.send("a", "news")
        await until(lambda: here.came == ["news"])


@hurried
async def test_groups_left_before_their_joins_are_awaited_receive_nothing():
    async with place() as here:
        joining = asyncio.gather(*(here.link.join(group) for group in "ab"))
        for group in "ab":
            await here.link.leave(group)
        await joining
        await here.link.join("last")
        for group in ("a", "b", "last"):
            await here.send(group, group)
        await until(lambda: here.came)
        assert here.came == ["last"]
        assert set(here.layer.groups) == {"last"}


@hurried
async def test_groups_that_the_layer_forgot_are_joined_again_each_minute():
    """It forgets a group's members after a day, and the groups of a channel when one of its messages expires."""
    async with place() as here:
        await asyncio.gather(here.link.join("a"), here.link.join("b"))
        for number in "123":
            here.layer.groups.clear()
            await asyncio.sleep(61)
            await here.send("a", f"a{number}")
            await here.send("b", f"b{number}")
        await until(lambda: here.came == ["a1", "b1", "a2", "b2", "a3", "b3"])


@hurried
async def test_groups_that_were_left_are_not_joined_again():
    async with place() as here:
        await here.link.join("a")
        await here.link.join("b")
        await here.link.leave("a")
        await asyncio.sleep(61)
        assert set(here.layer.groups) == {"b"}


@hurried
async def test_a_link_that_has_stopped_leaves_no_task_behind():
    async with place() as here:
        await here.link.join("a")
        await here.link.stop()
        assert asyncio.all_tasks() == {asyncio.current_task()}


@hurried
async def test_a_link_that_has_stopped_may_be_used_again():
    async with place() as here:
        await here.link.join("a")
        await here.link.stop()
        await here.link.join("b")
        await here.send("b", "news")
        await until(lambda: here.came == ["news"])


@hurried
async def test_a_reader_that_ended_is_started_again():
    async with place() as here:
        await here.link.join("a")
        await asyncio.sleep(0)
        receive = here.layer.receive
        here.layer.receive = panic  # type: ignore[method-assign]
        await here.send("a", "first")  # for the receive under way
        await asyncio.sleep(10)
        here.layer.receive = receive  # type: ignore[method-assign]
        await here.send("a", "news")
        await until(lambda: here.came == ["first", "news"])


async def panic(channel: str) -> None:
    raise Panic


class Panic(BaseException):
    """What an extension in Rust raises."""
