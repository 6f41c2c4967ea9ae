"""The hub of one process, as connections and its link use it."""

from collections.abc import Sequence
from typing import Any

import pytest
from channels.layers import get_channel_layer

from django_etp import Connection, ConnectionClosed, Event, InvalidRoomName, TooManyRooms, etp_event, rooms
from django_etp.cluster.messages import Foreign, Frame, Malformed
from django_etp.concurrency.confirmations import Confirmation
from django_etp.hub.names import group_name, user_room
from django_etp.hub.process import serving_hub
from tests.support.inprocess import Wire
from tests.support.rooms import clients, got

pytestmark = pytest.mark.usefixtures("etp_registry")


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


async def test_a_connection_joins_all_rooms_or_none(settings: Any) -> None:
    async with clients("") as (client,):
        hub = serving_hub()
        [member] = hub.membership.all()
        with pytest.raises(InvalidRoomName, match="reserved"):
            await hub.join(member, ["lobby", user_room(7)])
        assert client.connection.rooms == frozenset()
        settings.ETP = {"MAX_ROOMS": 2}
        await hub.join(member, ["lobby"])
        with pytest.raises(TooManyRooms, match=r"2 rooms, which is .*MAX_ROOMS.*; this one is in 1 .* join 2 more"):
            await hub.join(member, ["lobby", "a", "b"])
        assert client.connection.rooms == {"lobby"}
        await hub.join(member, ["a", "a", "lobby"])
        await hub.join(member, ["lobby", "a"])
        await hub.leave(member, ["a"])
        await hub.join(member, ["b"])
        assert client.connection.rooms == {"lobby", "b"}
    with pytest.raises(ConnectionClosed, match="cannot join"):
        await hub.join(member, ["lobby"])


async def test_a_connection_is_removed_at_once_if_others_are_in_all_its_rooms() -> None:
    async with clients("lobby", "lobby game", "lobby"):
        hub = serving_hub()
        first, second, third = hub.membership.members("default", "lobby")
        assert not hub.remove_at_once(second)
        assert second.id in hub.membership
        assert hub.remove_at_once(first)
        assert hub.membership.members("default", "lobby") == [second, third]


async def test_an_id_is_of_the_hub_that_made_it() -> None:
    async with Wire():
        hub = serving_hub()
        ids = {hub.new_connection_id() for _ in range(100)}
        assert len(ids) == 100
        assert all(hub.owns(id) for id in ids)
        assert not hub.owns(f"{'f' * 16}.{'0' * 32}")


async def test_its_own_connections_are_alive_and_no_others_in_a_process_alone() -> None:
    async with clients("") as (client,):
        hub = serving_hub()
        may_live = hub.living()
        assert may_live(client.id)
        assert not may_live(hub.new_connection_id())
        assert not may_live(f"{'f' * 16}.1")


async def test_a_frame_that_comes_through_several_groups_is_delivered_once() -> None:
    async with clients("a b", "b") as (first, second):
        hub = serving_hub()
        frame = Frame("news||0", frozenset([second.id]), ("a", "b"), "emission")
        for room in ("a", "b"):
            hub.deliver_frame(group_name("default", room), frame)
        hub.deliver_frame(group_name("default", "b"), Frame("more||0"))
        assert await got(first, second) == [["news", "more"], ["more"]]


async def test_a_relayed_event_that_comes_again_is_delivered_once() -> None:
    async with clients("a b", "b") as (first, second):
        hub = serving_hub()
        for _ in range(2):
            hub.relay("default", ["b"], Frame("here||0", emission="~1"))
            hub.deliver_frame(group_name("default", "b"), Frame("there||0", frozenset([second.id]), emission="~2"))
        assert await got(first, second) == [["here", "there"], ["here"]]


async def test_an_id_is_looked_up_among_thousands_that_do_not_get_a_frame() -> None:
    others = [f"{1:016x}.{number:032x}" for number in range(5000)]
    frame = Frame.from_plain(Frame("news||0", frozenset(others)).to_plain())
    assert isinstance(frame.exclude, frozenset)
    async with clients("lobby") as (client,):
        serving_hub().deliver_frame(group_name("default", "lobby"), frame)
        assert await got(client) == [["news"]]


async def test_ids_that_do_not_get_an_event_are_not_repeated_for_each_of_its_rooms(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with clients("a b", "b") as (first, second):
        hub = serving_hub()
        sent: list[tuple[list[str], list[str]]] = []

        def publish(groups: list[str], frame: Frame, *, beside: Sequence[str] = ()) -> list[Confirmation]:
            sent.append((groups, list(beside)))
            return []

        monkeypatch.setattr(hub.link, "publish", publish)
        for ids in (1, 600):
            hub.send("default", ["a", "b"], "news||0", frozenset([second.id, *map(str, range(1, ids))]))
        groups = [group_name("default", name) for name in "ab"]
        assert sent == [(groups, []), ([group_name("default", None)], groups)]
        monkeypatch.undo()
        assert await got(first, second) == [["news", "news"], []]


async def test_a_frame_for_one_connection_is_delivered_in_its_namespace_alone() -> None:
    async with clients("", "") as (client, other):
        hub = serving_hub()
        for namespace in ("default", "game"):
            frame = Frame(f"{namespace}||0", connection_id=client.id, namespace=namespace)
            hub.deliver_frame(f"etp.hub.{hub.id}", frame)
        assert await got(client, other) == [["default"], []]


@pytest.mark.parametrize(("event", "data"), [("a||b", None), ("__ping", None), ("news", {1, 2})])
async def test_a_foreign_event_that_cannot_be_sent_is_malformed(event: str, data: Any) -> None:
    async with clients("lobby") as (client,):
        with pytest.raises(Malformed, match="sent to a room's group"):
            serving_hub().deliver_foreign(Foreign("lobby", event, data))
        assert await got(client) == [[]]


async def test_the_rooms_of_a_connection_change_with_its_user() -> None:
    async with Wire() as wire:
        hub = serving_hub()
        [member] = hub.membership.all()
        for user_id in (7, 8):
            await hub.change_user(member, user_id)
            await rooms.aemit(rooms.user(7), "to seven")
            await rooms.aemit(rooms.user(8), "to eight")
        assert [await wire.text(), await wire.text()] == ["to seven||0", "to eight||0"]
        heard = set(get_channel_layer().groups)
        assert rooms.group_name(rooms.user(8)) in heard
        assert rooms.group_name(rooms.user(7)) not in heard
