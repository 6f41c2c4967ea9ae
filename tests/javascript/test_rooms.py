"""etp-rooms.js in a real browser, against a server that the test plays itself."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Page
from websockets.asyncio.server import ServerConnection

from tests.support.browser import CHROMIUM
from tests.support.tab import Peer, open_page, receive, start_extended, wait_until

if CHROMIUM is None:
    pytest.skip(f"{Path(__file__).name}: chromium is not installed", allow_module_level=True)

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


@pytest_asyncio.fixture(loop_scope="session")
async def page(tab: Page, peer: Peer) -> AsyncIterator[Page]:
    """A new page with the module as `etp`, and `watch(name)`, which records what a room gets."""
    await open_page(tab, peer.url, "etp-rooms.js")
    await tab.evaluate(
        """() => {
            window.watch = (name) => {
                const room = client.room(name);
                room.onState((state, { recovered }) => seen.push([name, "state", state, recovered]));
                room.onLeft(({ code, message }) => seen.push([name, "left", code, message]));
                room.on("changed", (data, event) => seen.push([name, event.name, data]));
                return room;
            };
        }"""
    )
    yield tab
    await tab.goto("about:blank")


async def join(page: Page, connection: ServerConnection, name: str, *, state: Any = None, ack: int = 1) -> None:
    """Join a room, and let the server answer."""
    await page.evaluate("(name) => { window.joined = fate(watch(name).join()); }", name)
    assert await receive(connection) == f'__join||{ack}||{{"room":"{name}"}}'
    await connection.send(f"__ack___join||{ack}||{json.dumps({'state': state})}")
    assert await page.evaluate("joined") == ["resolved", state]


async def come_back(page: Page, peer: Peer, connection: ServerConnection) -> ServerConnection:
    """End the connection as a restarting server does, and return the client's next connection, greeted."""
    await connection.close(1012)
    connection = await peer.accept()
    await connection.send('__hello||0||{"id": "abc"}')
    return connection


async def expect_marker(page: Page, connection: ServerConnection) -> None:
    """Fail if the client has sent anything else."""
    await page.evaluate("client.emit('marker')")
    assert await receive(connection) == "marker||0"


async def seen(page: Page, count: int = 0) -> list[Any]:
    """Return what the rooms got, once there is so much, and forget it."""
    await wait_until(page, f"seen.filter((each) => Array.isArray(each) && each[0] !== 'disconnect').length >= {count}")
    return [each for each in await page.evaluate("seen.splice(0)") if each != "connect" and each[0] != "disconnect"]


async def test_a_join_resolves_to_the_state(page: Page, peer: Peer) -> None:
    connection = await start_extended(page, peer)
    assert connection.subprotocol == "etp.ext.v2"
    await join(page, connection, "orders/5", state={"status": "paid"})
    assert await seen(page) == [["orders/5", "state", {"status": "paid"}, False]]
    assert await page.evaluate("[client.room('orders/5').isJoined, client.room('orders/6').isJoined]") == [True, False]
    assert await page.evaluate("client.room('orders/5') === client.room('orders/5')")


async def test_events_reach_the_handlers_of_their_room_alone(page: Page, peer: Peer) -> None:
    connection = await start_extended(page, peer)
    await join(page, connection, "orders/5")
    await page.evaluate("() => { watch('orders/6'); client.on('changed', () => seen.push('client')); }")
    await seen(page)
    await connection.send('__in orders/5 changed||0||{"a":1}')
    await connection.send("__in orders/6 changed||0||2")  # it is not in that room
    await wait_until(page, "seen.length > 0")
    await expect_marker(page, connection)
    assert await seen(page) == [["orders/5", "changed", {"a": 1}]]


async def test_the_state_comes_before_the_events_that_follow_it(page: Page, peer: Peer) -> None:
    connection = await start_extended(page, peer)
    await page.evaluate("() => { watch('orders/5').join(); }")
    await receive(connection)
    for frame in ('__ack___join||1||{"state":1}', "__in orders/5 changed||0||2"):
        await connection.send(frame)
    assert await seen(page, 2) == [["orders/5", "state", 1, False], ["orders/5", "changed", 2]]


async def test_a_question_in_a_room_is_answered(page: Page, peer: Peer) -> None:
    connection = await start_extended(page, peer)
    await join(page, connection, "orders/5")
    await page.evaluate("() => { client.room('orders/5').on('sure?', (data) => ({ sure: data })); }")
    await connection.send("__in orders/5 sure?||9||yes")
    assert await receive(connection) == '__ack___in orders/5 sure?||9||{"sure":"yes"}'
    await connection.send("__in orders/5 nosuch||10")
    assert (await receive(connection)).startswith("__err___in orders/5 nosuch||10||")


async def test_sends_and_asks_inside_the_room(page: Page, peer: Peer) -> None:
    connection = await start_extended(page, peer)
    await join(page, connection, "orders/5")
    await page.evaluate("client.room('orders/5').emit('say', { text: 'hello' })")
    assert await receive(connection) == '__in orders/5 say||0||{"text":"hello"}'
    await page.evaluate("() => { window.answer = fate(client.room('orders/5').emitWithAck('say', 'hello')); }")
    assert await receive(connection) == "__in orders/5 say||2||hello"
    await connection.send("__ack___in orders/5 say||2||5")
    assert await page.evaluate("answer") == ["resolved", 5]


async def test_sends_nothing_inside_a_room_that_it_is_not_in(page: Page, peer: Peer) -> None:
    connection = await start_extended(page, peer)
    for call in ("emit('say')", "emitWithAck('say')"):
        fate = await page.evaluate(f"fate((async () => client.room('orders/5').{call})())")
        assert fate == ["EtpError", "permission_denied"]
    await expect_marker(page, connection)


@pytest.mark.parametrize("code", ["permission_denied", "not_found", "handler_error", "too_many_rooms"])
async def test_a_refused_join_rejects(page: Page, peer: Peer, code: str) -> None:
    connection = await start_extended(page, peer)
    await page.evaluate("() => { window.joined = fate(watch('orders/5').join()); }")
    await receive(connection)
    await connection.send(f'__err___join||1||{{"code":"{code}","message":"No."}}')
    assert await page.evaluate("joined") == ["EtpError", code]
    connection = await come_back(page, peer, connection)
    await expect_marker(page, connection)
    assert await seen(page) == []


async def test_it_returns_to_its_rooms_before_what_waited(page: Page, peer: Peer) -> None:
    connection = await start_extended(page, peer)
    names = ("b/1", "a/1")
    for number, name in enumerate(names, 1):
        await join(page, connection, name, state="old", ack=number)
    await seen(page)
    await page.evaluate("() => client.onConnect(() => client.emit('hook'))")
    await connection.close(1012)
    await wait_until(page, "client.state === 'connecting'")
    await page.evaluate("() => { client.emit('waits'); client.room('a/1').emit('say', 'waits'); }")
    connection = await peer.accept()
    await connection.send('__hello||0||{"id": "abc"}')
    frames = [await receive(connection) for _ in range(3)]
    assert frames == ['__join||1||{"room":"b/1"}', '__join||2||{"room":"a/1"}', "hook||0"]
    await page.evaluate("() => { client.room('b/1').emit('say', 'returns'); }")
    for number in (1, 2):
        await connection.send(f'__ack___join||{number}||{{"state":"new","recovered":true}}')
    frames = [await receive(connection) for _ in range(3)]
    assert sorted(frames) == sorted(["__in b/1 say||0||returns", "waits||0", "__in a/1 say||0||waits"])
    assert frames.index("waits||0") < frames.index("__in a/1 say||0||waits")
    assert await seen(page) == [["b/1", "state", "new", True], ["a/1", "state", "new", True]]


async def test_a_refused_return_ends_the_room(page: Page, peer: Peer) -> None:
    connection = await start_extended(page, peer)
    await join(page, connection, "orders/5")
    await seen(page)
    connection = await come_back(page, peer, connection)
    await receive(connection)
    await connection.send('__err___join||1||{"code":"permission_denied","message":"No more."}')
    await wait_until(page, "seen.at(-1)[1] === 'left'")
    assert await seen(page) == [["orders/5", "left", "permission_denied", "No more."]]
    connection = await come_back(page, peer, connection)
    await expect_marker(page, connection)


async def test_a_return_whose_refusal_says_when_to_try_again_is_tried_again(page: Page, peer: Peer) -> None:
    connection = await start_extended(page, peer)
    await join(page, connection, "orders/5")
    await seen(page)
    connection = await come_back(page, peer, connection)
    for number in (1, 2):
        assert await receive(connection) == f'__join||{number}||{{"room":"orders/5"}}'
        await connection.send(f'__err___join||{number}||{{"code":"handler_error","message":"","retry_after":0.01}}')
    assert await receive(connection) == '__join||3||{"room":"orders/5"}'
    await page.evaluate("client.room('orders/5').emit('say', 'again')")
    await connection.send('__ack___join||3||{"state":"back"}')
    assert await receive(connection) == "__in orders/5 say||0||again"
    assert await page.evaluate("client.room('orders/5').isJoined")
    assert [each[1] for each in await seen(page)] == ["state"]


async def refuse_for_seven_seconds(page: Page, connection: ServerConnection) -> None:
    """Refuse a return, which the page tries again when the test calls `tryAgain()`."""
    await page.evaluate(
        """() => {
            const original = setTimeout;
            window.setTimeout = (run, after) => after === 7000 ? (window.tryAgain = run) : original(run, after);
        }"""
    )
    await connection.send('__err___join||1||{"code":"handler_error","message":"","retry_after":7}')
    await wait_until(page, "Boolean(window.tryAgain)")


async def test_who_leaves_before_the_next_try_does_not_return(page: Page, peer: Peer) -> None:
    connection = await start_extended(page, peer)
    await join(page, connection, "orders/5")
    connection = await come_back(page, peer, connection)
    await receive(connection)
    await refuse_for_seven_seconds(page, connection)
    await page.evaluate("() => { window.waiting = fate(client.room('orders/5').emitWithAck('say')); }")
    await page.evaluate("() => { client.room('orders/5').leave(); }")
    assert await receive(connection) == '__leave||2||{"room":"orders/5"}'
    await connection.send("__ack___leave||2")
    assert await page.evaluate("waiting") == ["EtpError", "permission_denied"]  # at once
    await page.evaluate("tryAgain()")
    await expect_marker(page, connection)


async def test_who_joins_before_the_next_try_is_in_the_room_and_tries_no_more(page: Page, peer: Peer) -> None:
    connection = await start_extended(page, peer)
    await join(page, connection, "orders/5")
    connection = await come_back(page, peer, connection)
    await receive(connection)
    await refuse_for_seven_seconds(page, connection)
    await join(page, connection, "orders/5", ack=2)
    await page.evaluate("client.room('orders/5').emit('say', 'again')")
    assert await receive(connection) == "__in orders/5 say||0||again"
    await page.evaluate("tryAgain()")
    await expect_marker(page, connection)


async def test_the_server_takes_it_out(page: Page, peer: Peer) -> None:
    connection = await start_extended(page, peer)
    await join(page, connection, "orders/5")
    await seen(page)
    await connection.send('__left||0||{"room":"orders/5","code":"permission_denied","message":"Gone."}')
    await connection.send("__in orders/5 changed||0||1")
    await wait_until(page, "seen.length > 0")
    await expect_marker(page, connection)
    assert await seen(page) == [["orders/5", "left", "permission_denied", "Gone."]]
    assert not await page.evaluate("client.room('orders/5').isJoined")
    connection = await come_back(page, peer, connection)
    await expect_marker(page, connection)
    await join(page, connection, "orders/5", state="back")


async def test_leave(page: Page, peer: Peer) -> None:
    connection = await start_extended(page, peer)
    await join(page, connection, "orders/5")
    await seen(page)
    await page.evaluate("() => { window.left = fate(client.room('orders/5').leave()); }")
    assert await receive(connection) == '__leave||2||{"room":"orders/5"}'
    await connection.send("__in orders/5 changed||0||late")
    await connection.send("__ack___leave||2")
    assert await page.evaluate("left") == ["resolved", None] or await page.evaluate("left") == ["resolved", ""]
    assert await seen(page) == []
    await page.evaluate("client.room('orders/5').leave()")  # again, which does nothing
    connection = await come_back(page, peer, connection)
    await expect_marker(page, connection)


async def test_leaving_while_joining(page: Page, peer: Peer) -> None:
    connection = await start_extended(page, peer)
    await page.evaluate("() => { window.joined = fate(watch('orders/5').join()); }")
    await receive(connection)
    await page.evaluate("() => { window.left = fate(client.room('orders/5').leave()); }")
    assert await receive(connection) == '__leave||2||{"room":"orders/5"}'
    await connection.send('__ack___join||1||{"state":1}')
    await connection.send("__ack___leave||2")
    assert await page.evaluate("joined") == ["EtpError", "left"]
    assert await page.evaluate("left.then(([how]) => how)") == "resolved"
    assert await seen(page) == []
    await join(page, connection, "orders/5", ack=3)


async def test_a_join_waits_for_the_connection(page: Page, peer: Peer) -> None:
    await page.evaluate("() => { start({ extensions: true }); window.joined = fate(watch('orders/5').join()); }")
    connection = await peer.accept()
    await connection.send('__hello||0||{"id": "abc"}')
    assert await receive(connection) == '__join||1||{"room":"orders/5"}'
    await connection.close(1012)
    connection = await peer.accept()
    await connection.send('__hello||0||{"id": "abc"}')
    assert await receive(connection) == '__join||1||{"room":"orders/5"}'
    await connection.send('__ack___join||1||{"state":1}')
    assert await page.evaluate("joined") == ["resolved", 1]


async def test_a_join_of_a_closed_client_rejects(page: Page, peer: Peer) -> None:
    connection = await start_extended(page, peer)
    await page.evaluate("() => { window.joined = fate(watch('orders/5').join()); }")
    await receive(connection)
    await page.evaluate("client.close()")
    assert await page.evaluate("joined") == ["ConnectionLost", "connection_lost"]
    assert await page.evaluate("fate(client.room('orders/5').join())") == ["ConnectionLost", "connection_lost"]


@pytest.mark.parametrize(
    ("options", "fate"),
    [("{ timeout: 20 }", ["AckTimeout", "ack_timeout"]), ("{ signal: AbortSignal.timeout(20) }", ["TimeoutError", 23])],
)
async def test_a_join_that_is_given_up_leaves_the_room(page: Page, peer: Peer, options: str, fate: list[Any]) -> None:
    connection = await start_extended(page, peer)
    assert await page.evaluate(f"fate(watch('orders/5').join({options}))") == fate
    assert await receive(connection) == '__join||1||{"room":"orders/5"}'
    assert await receive(connection) == '__leave||0||{"room":"orders/5"}'


async def test_a_server_without_declared_rooms_is_named(page: Page, peer: Peer) -> None:
    await page.evaluate("() => { start(); window.joined = fate(watch('orders/5').join()); }")
    connection = await peer.accept()
    assert await receive(connection) == '__join||1||{"room":"orders/5"}'
    await connection.send("__ack___join||1")  # as a plain server answers an event that it does not know
    assert await page.evaluate("joined") == ["EtpError", "unknown_event"]


@pytest.mark.parametrize("codec", ["'text'", "'json'", "{ encode: (v) => `~${v}`, decode: (text) => text.slice(1) }"])
async def test_any_codec_joins(page: Page, peer: Peer, codec: str) -> None:
    await page.evaluate(
        f"""() => {{
            start({{ extensions: true, codec: {codec} }});
            window.joined = fate(watch('orders/5').join());
        }}"""
    )
    connection = await peer.accept()
    await connection.send('__hello||0||{"id": "abc"}')
    assert await receive(connection) == '__join||1||{"room":"orders/5"}'
    await connection.send('__ack___join||1||{"state":{"a":1}}')
    assert await page.evaluate("joined") == ["resolved", {"a": 1}]


async def test_errors_in_hooks_are_reported(page: Page, peer: Peer) -> None:
    connection = await start_extended(page, peer)
    await page.evaluate("() => client.room('orders/5').onState(() => { throw new Error('mine'); })")
    await join(page, connection, "orders/5")
    await wait_until(page, "seen.length > 2")
    assert ["error", "mine"] in await seen(page)


@pytest.mark.parametrize("name", ["", "a b", "a|b"])
async def test_names_that_no_declared_room_has(page: Page, peer: Peer, name: str) -> None:
    await start_extended(page, peer)
    fate = await page.evaluate("(name) => fate((async () => client.room(name))())", name)
    assert fate == ["EtpError", "invalid_room_name"]


async def test_names_that_no_event_has(page: Page, peer: Peer) -> None:
    connection = await start_extended(page, peer)
    await join(page, connection, "orders/5")
    for call in ("on('__x', () => 1)", "emit('a||b')", "emitWithAck('a|')"):
        fate = await page.evaluate(f"fate((async () => client.room('orders/5').{call})())")
        assert fate == ["EtpError", "invalid_event_name"]


async def test_a_return_asks_for_the_events_after_the_last_one_that_came(page: Page, peer: Peer) -> None:
    connection = await start_extended(page, peer)
    await page.evaluate("() => { client.room('orders/5', { since: 'e.6' }); }")
    await page.evaluate("() => { window.joined = fate(watch('orders/5').join()); }")
    assert await receive(connection) == '__join||1||{"room":"orders/5","since":"e.6"}'
    await connection.send('__ack___join||1||{"state":"old","position":"e.7","recovered":false}')
    await connection.send("__in orders/5@e.8 changed||0||1")
    await wait_until(page, "seen.length > 1")
    connection = await come_back(page, peer, connection)
    assert await receive(connection) == '__join||1||{"room":"orders/5","since":"e.8"}'
    await connection.send('__ack___join||1||{"state":"new","position":"e.10","recovered":true}')
    await connection.send("__in orders/5@e.9 changed||0||2")
    assert await seen(page, 4) == [
        ["orders/5", "state", "old", False],
        ["orders/5", "changed", 1],
        ["orders/5", "state", "new", True],
        ["orders/5", "changed", 2],
    ]
    # Those that were to follow have not come yet.
    connection = await come_back(page, peer, connection)
    assert await receive(connection) == '__join||1||{"room":"orders/5","since":"e.9"}'
    await connection.send('__ack___join||1||{"state":"newer","position":"f.3","recovered":false}')
    await wait_until(page, "client.room('orders/5').position === 'f.3'")


async def test_past_events_are_asked_for(page: Page, peer: Peer) -> None:
    connection = await start_extended(page, peer)
    outside = await page.evaluate("fate(client.room('orders/5').history())")
    assert outside == ["EtpError", "permission_denied"]
    await join(page, connection, "orders/5")
    await page.evaluate("() => { window.past = client.room('orders/5').history({ limit: 2, before: 'e.9' }); }")
    assert await receive(connection) == '__history||2||{"room":"orders/5","limit":2,"before":"e.9"}'
    past = {"position": "e.8", "event": "changed", "data": '{"a":5}', "at": 1.5}
    await connection.send(f"__ack___history||2||{json.dumps({'events': [past]})}")
    assert await page.evaluate("past.then((events) => events.map((each) => ({ ...each, at: each.at.toJSON() })))") == [
        {"position": "e.8", "event": "changed", "data": {"a": 5}, "at": "1970-01-01T00:00:01.500Z"}
    ]
    await page.evaluate("() => { window.past = fate(client.room('orders/5').history({ timeout: 20 })); }")
    assert await receive(connection) == '__history||3||{"room":"orders/5"}'
    assert await page.evaluate("past") == ["AckTimeout", "ack_timeout"]


async def test_an_event_that_a_second_join_repeats_is_dropped(page: Page, peer: Peer) -> None:
    connection = await start_extended(page, peer)
    await page.evaluate("() => { client.room('orders/5', { since: 'e.7' }); }")
    await page.evaluate("() => { window.joined = fate(watch('orders/5').join()); }")
    await receive(connection)
    await connection.send('__ack___join||1||{"state":null,"position":"e.9","recovered":true}')
    for position in ("e.8", "e.9", "e.9", "e.8", "e.10", "f.1", "f.2"):
        await connection.send(f"__in orders/5@{position} changed||0||{position}")
    await wait_until(page, "client.room('orders/5').position === 'f.2'")
    assert [each[2] for each in await seen(page)][1:] == ["e.8", "e.9", "e.10", "f.1", "f.2"]


async def test_a_room_without_history_may_have_an_at_sign_in_its_name(page: Page, peer: Peer) -> None:
    connection = await start_extended(page, peer)
    await join(page, connection, "users/a@b.c")
    await join(page, connection, "users/a", ack=2)
    await seen(page)
    await connection.send("__in users/a@b.c changed||0||1")
    await wait_until(page, "seen.length > 0")
    assert await seen(page) == [["users/a@b.c", "changed", 1]]
