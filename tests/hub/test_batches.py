"""Batches of a hub, on a publisher whose layer is a list."""

from collections import Counter

import pytest

from django_etp.cluster.messages import Frame
from django_etp.hub.batches import Send
from django_etp.hub.names import group_name
from tests.support.batches import Site, sends


async def test_a_batch_to_one_room_is_one_message_of_plain_texts():
    site = Site()
    await site.send_batch(*sends(*[("a", str(number)) for number in range(300)]))
    (message,) = site.sent
    assert message["frames"] == [str(number) for number in range(300)]


@pytest.mark.parametrize("backwards", [False, True])
async def test_a_member_of_several_rooms_gets_the_events_in_their_order_once(backwards: bool):
    site = Site()
    await site.send_batch(*sends(("a", "1"), ("b", "2"), ("a b", "3"), ("c", "4"), ("a", "5"), ("b", "6")))
    assert Counter(message["group"] for message in site.sent).most_common(1)[0][1] == 1
    assert len(site.sent) == 3
    assert site.heard("a", "b", backwards=backwards) == ["1", "2", "3", "5", "6"]
    assert site.heard("b", backwards=backwards) == ["2", "3", "6"]
    assert site.heard("a", "b", "c", backwards=backwards) == ["1", "2", "3", "4", "5", "6"]


async def test_a_batch_that_fills_several_messages_keeps_its_order():
    site = Site()
    await site.send_batch(*sends(*[("a" if number % 2 else "b", str(number)) for number in range(700)]))
    assert sorted(Counter(message["group"] for message in site.sent).values()) == [2, 2]
    for backwards in (False, True):
        assert site.heard("a", "b", backwards=backwards) == [str(number) for number in range(700)]


async def test_a_batch_to_many_rooms_goes_through_the_group_of_the_namespace():
    site = Site()
    await site.send_batch(*sends(*[(f"room{number}", str(number)) for number in range(100)]))
    (message,) = site.sent
    assert message["group"] == group_name("default", None)
    assert site.heard("room7", "room9") == ["7", "9"]


async def test_excluded_connections_are_named():
    site = Site()
    await site.send_batch(Send("default", ("a",), "1", frozenset(["left out"])), Send("default", ("a",), "2"))
    frames = [Frame.from_plain(frame) for frame in site.sent[0]["frames"]]
    assert [frame.exclude for frame in frames] == [{"left out"}, set()]
