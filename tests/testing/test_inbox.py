"""What a test's client expects and skips."""

import asyncio

import pytest

from django_etp.protocol.closing import Disconnect
from django_etp.testing.inbox import Inbox


def inbox_of(*frames: str | Disconnect) -> Inbox:
    inbox = Inbox()
    for frame in frames:
        inbox._frames.put_nowait(frame)
    return inbox


async def test_others_are_skipped_until_the_event_comes() -> None:
    inbox = inbox_of("a||0", "b||0||1", "b||0||2")
    assert (await inbox.expect_event("b", skip_others=True)).data == "1"
    assert (await inbox.expect_event("b")).data == "2"


async def test_without_skipping_the_next_event_is_the_one() -> None:
    with pytest.raises(AssertionError, match="Expected the event 'b', got"):
        await inbox_of("a||0", "b||0").expect_event("b")


async def test_a_failure_lists_what_came_instead() -> None:
    with pytest.raises(AssertionError, match=r"Expected the event 'c' within 0\.01 s, got \['a', 'b'\]\."):
        await inbox_of("a||0", "b||0").expect_event("c", skip_others=True, timeout=0.01)
    with pytest.raises(AssertionError, match=r"Expected the event 'c' within 0\.01 s, got nothing\."):
        await inbox_of().expect_event("c", skip_others=True, timeout=0.01)


async def test_the_time_is_for_all_events_together() -> None:
    inbox = inbox_of()

    async def send() -> None:
        while True:
            inbox._frames.put_nowait("a||0")
            await asyncio.sleep(0.01)

    sending = asyncio.ensure_future(send())
    with pytest.raises(AssertionError, match=r"within 0\.1 s"):
        await inbox.expect_event("b", skip_others=True, timeout=0.1)
    sending.cancel()


async def test_a_close_ends_the_skipping() -> None:
    with pytest.raises(AssertionError, match=r"got \['a'\], and the connection was closed: .*4001"):
        await inbox_of("a||0", Disconnect(4001, "bye")).expect_event("b", skip_others=True)


async def test_skipping_needs_a_name() -> None:
    with pytest.raises(TypeError, match="needs the name"):
        await inbox_of("a||0").expect_event(skip_others=True)
