"""The queries of the page: what one hub replies, and what the replies of several make."""

import json
import time
from typing import Any

import pytest

from django_etp.cluster.messages import Malformed
from django_etp.connections.state import CONNECTING
from django_etp.exceptions import InvalidRoomName
from django_etp.hub.hub import Hub
from django_etp.hub.queries import HubQuery, answer, read_query
from django_etp.live.losses import losses
from django_etp.live.queries import GetDetails, GetSummary, ListConnections, ListRooms, Summary
from django_etp.live.traffic import traffic_of
from tests.support.live import connect, make_hub


@pytest.fixture(autouse=True)
def _no_layer(settings: Any) -> None:
    settings.CHANNEL_LAYERS = {}


async def ask(query: HubQuery[Any], *hubs: Hub) -> Any:
    """Return the answer of several hubs; queries and replies travel as JSON."""
    plain = json.loads(json.dumps(query.to_plain()))
    return query.merge([json.loads(json.dumps(await answer(hub, query.action, plain))) for hub in hubs])


async def test_connections_of_several_hubs_are_one_list_the_latest_first() -> None:
    hubs = [make_hub() for _ in range(4)]
    peers = [connect(hubs[at % 4], f"user {at}", at=1000.0 + at, namespace="ab"[at % 2]) for at in range(30)]
    ids = [peer.id for peer in reversed(peers)]
    page = await ask(ListConnections("", "", (), 0, 12), *hubs)
    assert [row.id for row in page.rows] == ids[:12]
    assert (page.start, page.total, page.has_previous, page.has_next) == (0, 30, False, True)
    key = repr(page.rows[-1].connected_at), page.rows[-1].id
    page = await ask(ListConnections("", "", key, 0, 12), *hubs)
    assert ([row.id for row in page.rows], page.start) == (ids[12:24], 12)
    key = repr(page.rows[0].connected_at), page.rows[0].id
    page = await ask(ListConnections("", "", key, 1, 12), *hubs)
    assert ([row.id for row in page.rows], page.start) == (ids[:12], 0)
    page = await ask(ListConnections("", "user 2", (), 0, 12), *hubs)
    assert [row.username for row in page.rows] == [f"user {at}" for at in range(29, 19, -1)] + ["user 2"]


async def test_a_list_may_be_of_the_members_of_a_room() -> None:
    hub = make_hub()
    ada = connect(hub, "Ada", "lobby")
    connect(hub, "Grace", "kitchen")
    connect(hub, "Edith", "lobby", namespace="game")
    page = await ask(ListConnections("", "", (), 0, 10, "default", "lobby"), hub)
    assert [row.id for row in page.rows] == [ada.id]
    assert not (await ask(ListConnections("", "grace", (), 0, 10, "default", "lobby"), hub)).rows


async def test_connections_that_are_not_accepted_are_not_there_yet() -> None:
    hub = make_hub()
    peer = connect(hub, "Ada", "lobby")
    peer.outbox.state = CONNECTING
    assert not (await ask(ListConnections("", "", (), 0, 10), hub)).rows
    assert not (await ask(ListRooms("", "", (), 0, 10), hub)).rows
    assert await ask(GetDetails("", peer.id), hub) is None
    assert (await ask(GetSummary(""), hub)).connections == 0


async def test_a_room_of_several_hubs_is_one_with_all_members() -> None:
    hubs = [make_hub() for _ in range(3)]
    for at in range(7):
        connect(hubs[at % 3], "Ada", "lobby", f"room {at}")
    connect(hubs[0], "", "lobby", namespace="game")
    query = ListRooms("", "", (), 0, 5)
    page = await ask(query, *hubs)
    assert [(row.name, row.namespace, row.members) for row in page.rows] == [
        ("lobby", "default", 7),
        ("lobby", "game", 1),
        *((f"room {at}", "default", 1) for at in range(3)),
    ]
    page = await ask(ListRooms("", "", ("room 2", "default"), 0, 5), *hubs)
    assert [row.name for row in page.rows] == [f"room {at}" for at in range(3, 7)]
    assert (page.has_previous, page.has_next) == (True, False)
    assert [row.name for row in (await ask(ListRooms("", "LOBB", (), 0, 5), *hubs)).rows] == ["lobby", "lobby"]


async def test_the_details_begin_to_count() -> None:
    hubs = [make_hub() for _ in range(2)]
    peer = connect(hubs[0], "Ada", "lobby", "attic", namespace="game")
    assert await ask(GetDetails("", "gone"), *hubs) is None
    details = await ask(GetDetails("", peer.id), *hubs)
    assert (details.row.id, details.row.namespace, details.rooms) == (peer.id, "game", ["attic", "lobby"])
    assert (details.events, details.frames) == (0, 0)
    traffic_of(hubs[0]).meters[peer.id].frames = 3
    traffic_of(hubs[0]).meters[peer.id].events = 2
    details = await ask(GetDetails("", peer.id), *hubs)
    assert (details.events, details.frames) == (2, 3)


async def test_the_details_name_a_bounded_number_of_rooms() -> None:
    hub = make_hub()
    peer = connect(hub, "Ada", *(f"room {number:03}" for number in range(300)))
    details = await ask(GetDetails("", peer.id), hub)
    assert details.rooms == [f"room {number:03}" for number in range(200)]
    assert details.row.rooms == 300


async def test_the_summary_adds_up_and_begins_to_count() -> None:
    hubs = [make_hub() for _ in range(2)]
    for hub in hubs:
        connect(hub)
    assert await ask(GetSummary("")) == Summary()
    summary = await ask(GetSummary(""), *hubs)
    assert (summary.processes, summary.connections, summary.events, summary.frames) == (2, 2, [], [])
    traffic_of(hubs[0]).seconds.extend([(1, 10), (2, 20), (3, 30)])
    traffic_of(hubs[1]).seconds.extend([(5, 50)])  # it began later: its last second is the last second of the others
    summary = await ask(GetSummary(""), *hubs)
    assert (summary.events, summary.frames) == ([1, 2, 8], [10, 20, 80])


async def test_the_summary_has_the_losses(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"messages": 2, "events": 5, "slow_clients": 1}.items():
        monkeypatch.setattr(losses, name, value)
    monkeypatch.setattr(losses, "last", [(1.0, "game", "lobby", 3), (2.0, "", "", 2)])
    summary = await ask(GetSummary(""), make_hub(), make_hub())
    assert (summary.messages_lost, summary.events_lost, summary.slow_clients) == (4, 10, 2)
    assert summary.last == [(2.0, "", "", 2)] * 2 + [(1.0, "game", "lobby", 3)] * 2


@pytest.mark.parametrize(
    "plain",
    [
        ["", "", ["soon", "id"], 0, 10, "", None],
        ["", "", ["1.0"], 0, 10, "", None],
        ["", "", [], 0, 0, "", None],
        ["", "", [], 0, 201, "", None],
        ["", "", [], 0, 10],
    ],
)
def test_queries_that_do_not_fit_are_malformed(plain: list[Any]) -> None:
    with pytest.raises(Malformed):
        read_query("live_connections", plain)


def test_a_room_is_one_that_can_be() -> None:
    with pytest.raises(InvalidRoomName):
        ListConnections("", "", (), 0, 10, "default", "x" * 1001)


async def test_a_hub_with_many_connections_replies_soon_and_briefly() -> None:
    hub = make_hub()
    for at in range(2500):
        connect(hub, f"user {at}", f"room {at}", at=float(at))
    for query in (ListConnections("", "user", (), 0, 50), ListRooms("", "room", (), 0, 50)):
        began_at = time.perf_counter()
        reply = await query.reply(hub)
        assert time.perf_counter() - began_at < 0.5
        assert len(json.dumps(reply)) < 12_000
