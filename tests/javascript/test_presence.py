"""etp-presence.js in a real browser, against a server that the test plays itself."""

import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Page
from websockets.asyncio.server import ServerConnection

from tests.javascript.test_package import compile_types
from tests.support.browser import CHROMIUM
from tests.support.tab import MODULE, Peer, open_page, receive, start_extended, wait_until

if CHROMIUM is None:
    pytest.skip(f"{Path(__file__).name}: chromium is not installed", allow_module_level=True)

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

MEMBERS = "[...client.room('teams/red').members.entries()].map(([key, entry]) => `${key}:${entry.connections}`)"


@pytest_asyncio.fixture(loop_scope="session")
async def page(tab: Page, peer: Peer) -> AsyncIterator[Page]:
    """A new page with the module as `etp`."""
    await open_page(tab, peer.url, "etp-presence.js")
    yield tab
    await tab.goto("about:blank")


def entry(key: str, connections: int = 1) -> dict[str, Any]:
    return {"key": key, "info": {}, "since": 1.5, "connections": connections}


async def answer_join(connection: ServerConnection, ack: int, **content: Any) -> None:
    assert await receive(connection) == f'__join||{ack}||{{"room":"teams/red"}}'
    await connection.send(f"__ack___join||{ack}||{json.dumps({'state': 'ready', **content})}")


async def change(connection: ServerConnection, **content: Any) -> None:
    await connection.send(f"__in teams/red __presence||0||{json.dumps(content)}")


async def watch(page: Page, connection: ServerConnection, **content: Any) -> None:
    """Join the room, and keep what the hook gets."""
    await page.evaluate(
        """() => {
            const room = client.room('teams/red');
            window.members = room.members;
            room.onState((state) => seen.push(state));
            window.off = room.onPresence((members) => seen.push([members === room.members, members.size]));
            seen.length = 0;
            window.joined = fate(room.join());
        }"""
    )
    await answer_join(connection, 1, **content)
    assert await page.evaluate("joined") == ["resolved", "ready"]


async def test_a_room_with_members_begins_at_a_position_as_well(page: Page, peer: Peer) -> None:
    connection = await start_extended(page, peer)
    await page.evaluate("() => { fate(client.room('teams/red', { since: 'e.6' }).join()); }")
    assert await receive(connection) == '__join||1||{"room":"teams/red","since":"e.6"}'


async def test_the_members_are_a_live_map(page: Page, peer: Peer) -> None:
    connection = await start_extended(page, peer)
    assert await page.evaluate("[client.room('teams/red').members.size, client.room('teams/red').memberCount]") == [
        0,
        0,
    ]
    await watch(page, connection, members=[entry("ana")])
    assert await page.evaluate("seen") == ["ready", [True, 1]]
    await change(connection, joined=[entry("bob")], changed=[], left=[])
    await change(connection, joined=[], changed=[entry("bob", 2)], left=["ana"])
    await wait_until(page, "seen.length === 4")
    assert await page.evaluate(MEMBERS) == ["bob:2"]
    assert await page.evaluate(
        "[members === client.room('teams/red').members, client.room('teams/red').memberCount]"
    ) == [
        True,
        1,
    ]
    await page.evaluate("() => { off(); client.room('teams/red').onPresence(() => { throw new Error('x'); }); }")
    await change(connection, joined=[entry("cleo")], changed=[], left=[])
    await wait_until(page, "members.size === 2")
    assert await page.evaluate("seen.filter(([isSame]) => isSame === true).length") == 3


async def test_a_return_replaces_the_members(page: Page, peer: Peer) -> None:
    connection = await start_extended(page, peer)
    await watch(page, connection, members=[entry("ana"), entry("bob")])
    await connection.close(1012)
    connection = await peer.accept()
    await connection.send('__hello||0||{"id": "abc"}')
    assert await page.evaluate("members.size") == 2
    await answer_join(connection, 1, members=[entry("cleo")])
    await wait_until(page, "members.size === 1")
    assert await page.evaluate(MEMBERS) == ["cleo:1"]


@pytest.mark.parametrize("how", ["left", "leave"])
async def test_outside_of_the_room_there_are_no_members(page: Page, peer: Peer, how: str) -> None:
    connection = await start_extended(page, peer)
    await watch(page, connection, members=[entry("ana")])
    if how == "left":
        await connection.send('__left||0||{"room":"teams/red","code":"removed","message":""}')
    else:
        await page.evaluate("() => { client.room('teams/red').leave(); }")
    await wait_until(page, "members.size === 0")
    await page.evaluate("() => { client.on('done', () => { seen.push('done'); }); }")
    await change(connection, joined=[entry("bob")], changed=[], left=[])
    await connection.send("done||0")
    await wait_until(page, "seen.at(-1) === 'done'")
    assert await page.evaluate("members.size") == 0


async def test_a_crowded_room_has_a_count_alone(page: Page, peer: Peer) -> None:
    connection = await start_extended(page, peer)
    await watch(page, connection, members=[entry("ana")], count=501)
    count = "[members.size, client.room('teams/red').memberCount]"
    assert await page.evaluate(count) == [0, 501]
    await change(connection, count=502)
    await wait_until(page, "seen.length === 3")
    assert await page.evaluate(count) == [0, 502]
    await change(connection, joined=[entry("ana"), entry("bob")], changed=[], left=[])
    await wait_until(page, "members.size === 2")
    assert await page.evaluate(count) == [2, 2]


async def test_a_room_without_presence_has_no_members(page: Page, peer: Peer) -> None:
    connection = await start_extended(page, peer)
    await watch(page, connection)
    assert await page.evaluate("seen") == ["ready"]
    with pytest.raises(Exception, match="Expected a function, got number"):
        await page.evaluate("client.room('teams/red').onPresence(5)")


async def test_the_types_describe_the_members(tmp_path: Path) -> None:
    shutil.copytree(MODULE.parent, tmp_path / "node_modules" / "django-etp")
    (tmp_path / "a.mts").write_text(
        'import { EtpClient, type Member, withPresence } from "django-etp/presence";\n'
        'import { EtpClient as RoomsClient } from "django-etp/rooms";\n'
        'const team = new EtpClient("/ws/").room<{ name: string }>("teams/red");\n'
        "const off = team.onPresence((members) => members.get('7')?.info.name.length);\n"
        "const names: string[] = [...team.members.values()].map(({ info }: Member<{ name: string }>) => info.name);\n"
        "const count: number = team.memberCount;\n"
        "await team.join();\n"
        "off();\n"
        'const other = new (withPresence(RoomsClient))("/ws/").room("teams/red").memberCount.toFixed();\n'
        "// @ts-expect-error\n"
        "team.members.clear();\n"
        "export { names, count, other };\n"
    )
    assert compile_types(tmp_path, "a.mts") == ""
