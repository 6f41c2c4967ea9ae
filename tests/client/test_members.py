"""The members of a room as the Python client knows them, against a server that the test plays itself."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from django_etp.client.members import Members
from tests.support.room_peers import Peer, pong, receive, start_peer


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    async with start_peer() as peer:
        yield peer


def entry(key: str, connections: int = 1) -> dict[str, Any]:
    return {"key": key, "info": {}, "since": 1.5, "connections": connections}


def change(**content: Any) -> str:
    return f"__in teams/red __presence||0||{json.dumps(content)}"


async def answer_join(connection: Any, ack: int, **content: Any) -> None:
    assert await receive(connection) == f'__join||{ack}||{{"room":"teams/red"}}'
    await connection.send(f"__ack___join||{ack}||{json.dumps({'state': None, **content})}")


async def test_the_members_are_a_live_map(peer: Peer) -> None:
    async with peer.client() as client:
        room, connection, seen = client.room("teams/red"), await peer.accept(), []
        room.on_presence(lambda members: seen.append(list(members)))
        members = room.members
        joining = asyncio.create_task(room.join())
        await answer_join(connection, 1, members=[entry("ana")])
        await joining
        assert members == {"ana": entry("ana")}
        await connection.send(change(joined=[entry("bob")], changed=[], left=[]))
        await connection.send(change(joined=[], changed=[entry("bob", 2)], left=["ana"]))
        await pong(client, connection)
        assert members == {"bob": entry("bob", 2)}
        assert room.member_count == 1
        assert seen[0] == ["ana"]
        assert seen[-1] == ["bob"]
        assert len(seen) == 3
        await connection.close(1012)
        connection = await peer.accept()
        assert members == {"bob": entry("bob", 2)}
        await answer_join(connection, 1, members=[entry("cleo")])
        await pong(client, connection)
        assert members == {"cleo": entry("cleo")}
        await connection.send('__left||0||{"room": "teams/red", "code": "removed", "message": ""}')
        await pong(client, connection)
        assert members == {}
        with pytest.raises(TypeError):
            members["x"] = {}  # type: ignore[index]


async def test_events_that_come_behind_a_leave_change_nothing(peer: Peer) -> None:
    async with peer.client() as client:
        room, connection = client.room("teams/red"), await peer.accept()
        joining = asyncio.create_task(room.join())
        await answer_join(connection, 1, members=[entry("ana")])
        await joining
        leaving = asyncio.create_task(room.leave())
        assert (await receive(connection)).startswith("__leave||2")
        await connection.send(change(joined=[entry("bob")], changed=[], left=[]))
        await connection.send("__ack___leave||2")
        await leaving
        assert room.members == {}


def test_a_crowded_room_has_a_count_alone() -> None:
    members = Members()
    assert members.replace({"members": [entry("ana")], "count": 501})
    assert (members.entries, members.count) == ({}, 501)
    members.change({"count": 502})
    assert (members.entries, members.count) == ({}, 502)
    members.change({"joined": [entry("ana"), entry("bob")], "changed": [], "left": []})
    assert (list(members.entries), members.count) == (["ana", "bob"], 2)
    members.change({"count": 600})
    assert (members.entries, members.count) == ({}, 600)
    members.clear()
    assert members.count == 0


def test_a_room_without_presence_has_no_members() -> None:
    members = Members()
    assert not members.replace({"state": 1})
    assert (members.entries, members.count) == ({}, 0)


@pytest.mark.parametrize(
    "content", [{}, {"joined": 5}, {"joined": [5, {}, {"key": 5}]}, {"left": [[], {}, "unknown"]}, {"count": "many"}]
)
def test_content_that_is_none_changes_nothing(content: dict[str, Any]) -> None:
    members = Members()
    members.replace({"members": [entry("ana")]})
    members.change(content)
    assert list(members.entries) == ["ana"]
