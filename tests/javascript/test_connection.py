"""etp.js in a real browser: how connections begin, end and come back, and what waits meanwhile."""

import datetime
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Page
from websockets.asyncio.server import ServerConnection

from tests.support.browser import CHROMIUM
from tests.support.peers import eventually
from tests.support.tab import (
    TIMEOUT,
    Peer,
    answer_http,
    expect_no_answer,
    open_page,
    receive,
    start,
    start_extended,
    take_back,
    wait_until,
)

if CHROMIUM is None:
    pytest.skip(f"{Path(__file__).name}: chromium is not installed", allow_module_level=True)

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


# The connection


async def test_connect_resolves_once_the_connection_is_there(page: Page, peer: Peer) -> None:
    assert await page.evaluate("start().then(() => client.state)") == "open"


async def test_close_ends_it_normally_and_for_good(page: Page, peer: Peer) -> None:
    connection = await start(page, peer)
    await page.evaluate("client.close()")
    await connection.wait_closed()
    assert connection.close_code == 1000
    assert await page.evaluate("[client.state, seen]") == ["closed", ["connect", ["disconnect", 1000, True, False]]]


async def test_close_takes_a_code_and_a_reason(page: Page, peer: Peer) -> None:
    connection = await start(page, peer)
    await page.evaluate("client.close(4000, 'gone fishing')")
    await connection.wait_closed()
    assert (connection.close_code, connection.close_reason) == (4000, "gone fishing")


async def test_a_closed_client_connects_again(page: Page, peer: Peer) -> None:
    await start(page, peer)
    await page.evaluate("(() => { client.close(); return client.connect(); })()")
    assert await page.evaluate("seen") == ["connect", ["disconnect", 1000, True, False], "connect"]


async def test_it_reconnects_after_a_close_that_is_not_normal(page: Page, peer: Peer) -> None:
    codes = [1001, 1011, 1012, 3000, 4000, 4008]
    connection = await start(page, peer, maxDelay=20)
    for code in codes:
        await connection.close(code)
        connection = await peer.accept()
        await wait_until(page, "client.state === 'open'")
    ends = [["disconnect", code, False, True] for code in codes]
    assert await page.evaluate("seen") == ["connect", *itertools.chain(*([end, "connect"] for end in ends))]


async def test_it_reconnects_after_the_connection_broke(page: Page, peer: Peer) -> None:
    connection = await start(page, peer)
    connection.transport.abort()
    await peer.accept()
    await wait_until(page, "client.state === 'open'")
    assert await page.evaluate("seen[1]") == ["disconnect", 1006, False, True]


@pytest.mark.parametrize(
    ("code", "reason"),
    [(1000, ""), (4403, ""), (4401, "logged out"), (4401, "the user was deleted or deactivated")],
)
async def test_it_stays_away_after_a_final_close(page: Page, peer: Peer, code: int, reason: str) -> None:
    connection = await start(page, peer)
    await connection.close(code, reason)
    await wait_until(page, "client.state === 'closed'")
    assert await page.evaluate("seen[1]") == ["disconnect", code, code == 1000, False]


# The end of a login


@pytest.mark.parametrize("reason", ["", "the password changed", "the session ended", "the token is too old"])
async def test_it_comes_back_once_after_4401(page: Page, peer: Peer, reason: str) -> None:
    connection = await start(page, peer)
    await connection.close(4401, reason)
    connection = await peer.accept()
    await wait_until(page, "client.state === 'open'")
    await connection.close(4401)
    await wait_until(page, "client.state === 'closed'")
    ends = [["disconnect", 4401, False, True], "connect", ["disconnect", 4401, False, False]]
    assert await page.evaluate("seen") == ["connect", *ends]
    assert peer.connections.empty()


async def test_a_4401_was_final_where_the_next_handshake_is_refused(page: Page, peer: Peer) -> None:
    connection = await start(page, peer)
    await page.evaluate("() => { client.onDisconnect(({ reason }) => seen.push(reason)); }")
    peer.is_refusing = True
    await connection.close(4401, "why")
    await wait_until(page, "client.state === 'closed'")
    ends = [["disconnect", 4401, False, True], "why", ["disconnect", 4401, False, False], "why"]
    assert await page.evaluate("seen") == ["connect", *ends]
    assert peer.refusals == 1


async def test_a_client_that_4401_ended_connects_again_when_it_is_told_to(page: Page, peer: Peer) -> None:
    connection = await start(page, peer)
    peer.is_refusing = True
    await connection.close(4401)
    await wait_until(page, "client.state === 'closed'")
    peer.is_refusing = False
    await page.evaluate("client.connect()")
    await (await peer.accept()).close(4401)
    await peer.accept()
    await wait_until(page, "client.state === 'open'")


async def test_a_4401_before_the_greeting_is_tried_once_more(page: Page, peer: Peer) -> None:
    await page.evaluate("() => { window.opened = fate(start({ extensions: true })); }")
    for _ in range(2):
        await (await peer.accept()).close(4401)
    assert await page.evaluate("opened") == ["ConnectionLost", "connection_lost"]
    assert peer.connections.empty()


async def test_a_connection_that_lived_comes_back_after_another_4401(page: Page, peer: Peer) -> None:
    connection = await start(page, peer)
    for _ in range(3):
        await page.evaluate("() => { const now = performance.now(); performance.now = () => now + 5000; }")
        await connection.close(4401)
        connection = await peer.accept()
        await wait_until(page, "client.state === 'open'")


async def test_a_client_that_came_back_after_4401_comes_back_after_other_ends(page: Page, peer: Peer) -> None:
    connection = await start(page, peer)
    await connection.close(4401)
    connection = await peer.accept()
    await wait_until(page, "client.state === 'open'")
    peer.is_refusing = True
    await connection.close(1012)
    await eventually_refused(peer, 2)
    peer.is_refusing = False
    await peer.accept()


async def eventually_refused(peer: Peer, count: int) -> None:
    async def refusals() -> int:
        return peer.refusals

    await eventually(refusals, lambda refused: refused >= count, timeout=TIMEOUT)


# What hooks are told


async def test_the_hooks_are_told_of_each_change_of_state(page: Page, peer: Peer) -> None:
    await page.evaluate(
        """() => {
            window.client = new etp.EtpClient("/ws/", { minDelay: 1, extensions: false });
            client.onStateChange((state) => seen.push(state));
            client.connect();
        }"""
    )
    connection = await peer.accept()
    await wait_until(page, "client.state === 'open'")
    await take_back(page, peer, connection)
    await page.evaluate("client.close()")
    assert await page.evaluate("seen") == ["connecting", "open", "connecting", "open", "closed"]


async def test_the_hooks_are_told_of_each_failed_attempt(page: Page, peer: Peer) -> None:
    await page.evaluate("() => { Math.random = () => 0.5; }")
    peer.is_refusing = True
    await page.evaluate(
        """() => {
            start({ minDelay: 4, maxAttempts: 2 }).catch(() => {});
            client.onAttemptFailed(({ attempt, delay, code, willReconnect }) =>
                seen.push([attempt, delay, code, willReconnect]));
        }"""
    )
    await wait_until(page, "client.state === 'closed'")
    assert await page.evaluate("seen") == [[1, 2, 1006, True], [2, 4, 1006, True], [3, None, 1006, False]]


async def test_failed_attempts_are_counted_from_the_last_connection(page: Page, peer: Peer) -> None:
    connection = await start(page, peer, maxDelay=20)
    await page.evaluate("() => { client.onAttemptFailed(({ attempt }) => seen.push(attempt)); }")
    for round in (1, 2):
        peer.is_refusing = True
        await connection.close(1012)
        await eventually_refused(peer, 2 * round)
        await wait_until(page, "seen.at(-1) >= 2")
        peer.is_refusing = False
        connection = await peer.accept()
        await wait_until(page, "client.state === 'open'")
    numbers = [each for each in await page.evaluate("seen") if isinstance(each, int)]
    assert numbers.count(1) == 2
    assert numbers[:2] == [1, 2]


async def test_a_close_while_it_connects_is_no_failed_attempt(page: Page, peer: Peer) -> None:
    await page.evaluate("() => { fate(start()); client.onAttemptFailed(() => seen.push('failed')); client.close(); }")
    assert await page.evaluate("[client.state, seen]") == ["closed", []]


async def test_a_hook_may_close_a_client_whose_attempt_failed(page: Page, peer: Peer) -> None:
    peer.is_refusing = True
    await page.evaluate("() => { window.opened = fate(start()); client.onAttemptFailed(() => client.close()); }")
    assert await page.evaluate("opened") == ["ConnectionLost", "connection_lost"]
    assert peer.refusals == 1


async def test_a_disconnect_tells_the_delay(page: Page, peer: Peer) -> None:
    await page.evaluate("() => { Math.random = () => 0.5; }")
    connection = await start(page, peer, minDelay=8)
    await page.evaluate("() => { client.onDisconnect(({ delay }) => seen.push(delay)); }")
    await take_back(page, peer, connection)
    await page.evaluate("client.close()")
    assert [each for each in await page.evaluate("seen") if not isinstance(each, list)] == [
        "connect",
        4,
        "connect",
        None,
    ]


@pytest.mark.parametrize(
    ("code", "reason", "delay"),
    [
        (1012, '{"reconnect_in": 30}', 30),
        (1012, '{"reconnect_in": 0}', 0),
        (1012, '{"reconnect_in": 9e9}', 300_000),
        *(
            (1012, reason, 4)
            for reason in ("", "soon", "30", '{"reconnect_in": "30"}', '{"reconnect_in": null}', "null")
        ),
        *((1012, reason, 4) for reason in ('{"reconnect_in": -1}', '{"reconnect_in": [30]}', '{"reconnect_in": true}')),
        (1011, '{"reconnect_in": 30}', 4),
    ],
)
async def test_a_server_that_restarts_may_say_when_to_connect_again(
    page: Page, peer: Peer, code: int, reason: str, delay: int
) -> None:
    await page.evaluate("() => { Math.random = () => 0.5; }")
    connection = await start(page, peer, minDelay=8)
    await page.evaluate("() => { client.onDisconnect(({ delay }) => { window.delay = delay; }); }")
    await connection.close(code, reason)
    await wait_until(page, "window.delay !== undefined")
    assert await page.evaluate("window.delay") == delay
    await page.evaluate("client.connect()")  # at once, whatever the delay
    await page.evaluate("client.close()")


async def test_it_stays_away_where_it_was_told_not_to_reconnect(page: Page, peer: Peer) -> None:
    connection = await start(page, peer, reconnect=False)
    await connection.close(1011)
    await wait_until(page, "client.state === 'closed'")
    assert await page.evaluate("seen[1]") == ["disconnect", 1011, False, False]


async def test_an_option_that_is_undefined_has_its_default(page: Page, peer: Peer) -> None:
    names = ["ackTimeout", "codec", "extensions", "heartbeat", "maxAttempts", "maxDelay", "params", "queueSize"]
    await page.evaluate(
        """(names) => {
            start(Object.fromEntries([...names, "reconnect"].map((name) => [name, undefined])));
            client.emit("waits");
        }""",
        names,
    )
    connection = await peer.accept()
    await connection.send('__hello||0||{"id": "abc"}')
    assert await receive(connection) == "waits||0"
    await page.evaluate("() => { window.answer = fate(client.emitWithAck('x')); }")
    assert await receive(connection) == "x||1"
    await connection.send('__ack_x||1||{"a": 1}')
    assert await page.evaluate("answer") == ["resolved", {"a": 1}]
    await take_back(page, peer, connection)


async def test_connect_rejects_when_the_client_gives_up(page: Page) -> None:
    assert (await page.evaluate("fate(start({ reconnect: false }, '/refused/'))"))[0] == "ConnectionLost"


async def test_close_ends_the_waiting_for_a_reconnect(page: Page) -> None:
    await page.evaluate("() => { window.opened = fate(start({ minDelay: 1 }, '/refused/')); }")
    await page.evaluate("client.close()")
    assert (await page.evaluate("opened"))[0] == "ConnectionLost"
    assert await page.evaluate("client.state") == "closed"


async def test_connect_tries_at_once_while_it_waits_to_reconnect(page: Page, peer: Peer) -> None:
    connection = await start(page, peer, minDelay=3_600_000, maxDelay=3_600_000)
    await page.evaluate("() => { Math.random = () => 1; }")
    await connection.close(1011)
    await wait_until(page, "client.state === 'connecting'")
    await page.evaluate("client.connect()")
    assert await page.evaluate("client.state") == "open"


async def test_connect_resolves_at_once_where_it_came_back_by_itself(page: Page, peer: Peer) -> None:
    await take_back(page, peer, await start(page, peer))
    await page.evaluate("client.connect()")
    assert await page.evaluate("seen") == ["connect", ["disconnect", 1012, False, True], "connect"]


_RECORD_DELAYS = """(random) => {
    window.delays = [];
    Math.random = () => random;
    const setTimer = window.setTimeout;
    window.setTimeout = (call, delay) => {
        if (delay > 1000) return setTimer(call, delay); // not one between two attempts
        delays.push(delay);
        return setTimer(call, 0);
    };
}"""


@pytest.mark.parametrize("random", [0.0, 0.5, 0.75])
async def test_the_delay_is_drawn_below_a_limit_that_doubles(page: Page, random: float) -> None:
    await page.evaluate(_RECORD_DELAYS, random)
    await page.evaluate("() => { start({ minDelay: 100, maxDelay: 1000 }, '/refused/'); }")
    await wait_until(page, "delays.length >= 6")
    limits = [100, 200, 400, 800, 1000, 1000]
    assert await page.evaluate("delays.slice(0, 6)") == [limit * random for limit in limits]


async def test_a_connection_that_dies_young_does_not_reset_the_delay(page: Page, peer: Peer) -> None:
    await page.evaluate(_RECORD_DELAYS, 0.5)
    await page.evaluate("() => { performance.now = () => 0; }")
    connection = await start(page, peer, minDelay=100)
    for _ in range(3):
        await connection.close(1011)
        connection = await peer.accept()
        await wait_until(page, "client.state === 'open'")
    assert await page.evaluate("delays.slice(0, 3)") == [50, 100, 200]


async def test_the_delays_grow_while_the_server_restarts_again_and_again(page: Page, peer: Peer) -> None:
    await page.evaluate(_RECORD_DELAYS, 0.5)
    connection = await start(page, peer, minDelay=100)
    for seconds in (59, 59, 60):
        await page.evaluate(
            "(ms) => { const now = performance.now(); performance.now = () => now + ms; }", seconds * 1000
        )
        connection = await take_back(page, peer, connection)
    assert await page.evaluate("delays.slice(0, 3)") == [50, 100, 50]


async def test_a_connection_that_lived_starts_the_delays_from_the_beginning(page: Page, peer: Peer) -> None:
    await page.evaluate(_RECORD_DELAYS, 0.5)
    connection = await start(page, peer, minDelay=100)
    for _ in range(2):
        await page.evaluate("() => { const now = performance.now(); performance.now = () => now + 5000; }")
        await connection.close(1011)
        connection = await peer.accept()
        await wait_until(page, "client.state === 'open'")
    assert await page.evaluate("delays.slice(0, 2)") == [50, 50]


async def test_it_gives_up_after_so_many_attempts_in_a_row(page: Page, peer: Peer) -> None:
    fate = await page.evaluate("fate(start({ minDelay: 1, maxAttempts: 2 }, '/refused/'))")
    assert fate == ["ConnectionLost", "connection_lost"]
    assert await page.evaluate("client.state") == "closed"
    assert peer.refusals == 3


async def test_the_hooks_are_told_that_a_client_that_was_open_has_given_up(page: Page, peer: Peer) -> None:
    connection = await start(page, peer, maxAttempts=2)
    peer.is_refusing = True
    await connection.close(1012)
    await wait_until(page, "client.state === 'closed'")
    ends = [["disconnect", 1012, False, True], ["disconnect", 1006, False, False]]
    assert await page.evaluate("seen") == ["connect", *ends]
    assert peer.refusals == 2


async def test_the_hooks_are_told_of_a_final_close_before_the_greeting(page: Page, peer: Peer) -> None:
    connection = await start_extended(page, peer)
    await connection.close(1012)
    await (await peer.accept()).close(4403)
    await wait_until(page, "client.state === 'closed'")
    ends = [["disconnect", 1012, False, True], ["disconnect", 4403, False, False]]
    assert await page.evaluate("seen") == ["connect", *ends]


async def test_the_hooks_are_told_so_each_time_it_was_open_and_gives_up(page: Page, peer: Peer) -> None:
    connection = await start(page, peer, maxAttempts=1)
    ends = [["disconnect", 1012, False, True], ["disconnect", 1006, False, False]]
    for _ in range(2):
        peer.is_refusing = True
        await connection.close(1012)
        await wait_until(page, "client.state === 'closed'")
        peer.is_refusing = False
        await page.evaluate("client.connect()")
        connection = await peer.accept()
    assert await page.evaluate("seen") == ["connect", *ends, "connect", *ends, "connect"]


async def test_the_hooks_are_not_told_that_a_client_has_given_up_that_was_never_open(page: Page) -> None:
    await page.evaluate("fate(start({ minDelay: 1, maxAttempts: 2 }, '/refused/'))")
    assert await page.evaluate("[client.state, seen]") == ["closed", []]


async def test_the_hooks_are_not_told_of_a_close_while_it_waits_to_reconnect(page: Page, peer: Peer) -> None:
    connection = await start_patient(page, peer)
    await connection.close(1012)
    await wait_until(page, "client.state === 'connecting'")
    await page.evaluate("client.close()")
    assert await page.evaluate("[client.state, seen]") == ["closed", ["connect", ["disconnect", 1012, False, True]]]


async def test_a_connection_that_lived_gives_it_all_attempts_again(page: Page, peer: Peer) -> None:
    connection = await start(page, peer, maxAttempts=1)
    for _ in range(2):
        await page.evaluate("() => { const now = performance.now(); performance.now = () => now + 5000; }")
        connection = await take_back(page, peer, connection)


async def test_a_handshake_that_is_never_answered_is_given_up(tab: Page, peer: Peer) -> None:
    async def silences() -> int:
        return peer.silences

    async with faked_clock(tab, peer) as page:
        await page.evaluate("() => { start({}, '/silent/'); }")
        await eventually(silences, lambda count: count == 1, timeout=TIMEOUT)
        await page.clock.run_for(21_000)
        await eventually(silences, lambda count: count == 2, timeout=TIMEOUT)


# What waits for a connection


async def test_events_wait_for_the_first_connection_and_go_in_order(page: Page, peer: Peer) -> None:
    await page.evaluate(
        """() => {
            start();
            client.onConnect(() => client.emit("hook"));
            for (let n = 0; n < 3; n++) client.emit("x", n);
        }"""
    )
    connection = await peer.accept()
    assert [await receive(connection) for _ in range(4)] == ["hook||0", "x||0||0", "x||0||1", "x||0||2"]


async def test_what_waits_goes_out_behind_what_the_connect_hooks_wait_for(page: Page, peer: Peer) -> None:
    await page.evaluate(
        """() => {
            window.opened = start();
            client.emit("waited");
            client.onConnect(async () => { await client.emitWithAck("join"); client.emit("joined"); });
            client.onConnect(() => Promise.reject(new Error("of another hook")));
            opened.then(() => client.emit("after"));
        }"""
    )
    for _ in range(2):
        connection = await peer.accept()
        assert await receive(connection) == "join||1"
        await wait_until(page, "client.state === 'open'")
        await connection.send("__ping||1")
        assert await receive(connection) == "__ack___ping||1"
        await page.evaluate("client.connect()")  # resolves, also where a hook waits for it
        await connection.close(1012)  # with the next connection it begins anew
    connection = await peer.accept()
    assert await receive(connection) == "join||1"
    await connection.send("__ack_join||1")
    assert [await receive(connection) for _ in range(3)] == ["joined||0", "waited||0", "after||0"]


async def test_events_wait_for_the_next_connection_and_go_in_order(page: Page, peer: Peer) -> None:
    first = await start(page, peer)
    await page.evaluate("() => client.onDisconnect(() => { for (let n = 0; n < 3; n++) client.emit('x', n); })")
    second = await take_back(page, peer, first)
    await page.evaluate("client.emit('after')")
    assert [await receive(second) for _ in range(4)] == ["x||0||0", "x||0||1", "x||0||2", "after||0"]


async def test_no_more_events_wait_than_may(page: Page, peer: Peer) -> None:
    await page.evaluate(
        """() => {
            start({ queueSize: 2 });
            window.emitted = fate((async () => { for (let n = 1; n <= 3; n++) client.emit("x", n); })());
        }"""
    )
    assert await page.evaluate("emitted") == ["ConnectionLost", "connection_lost"]
    connection = await peer.accept()
    assert [await receive(connection) for _ in range(2)] == ["x||0||1", "x||0||2"]
    await expect_no_answer(page, connection)


async def test_no_event_waits_where_none_may(page: Page, peer: Peer) -> None:
    await page.evaluate("() => { start({ queueSize: 0 }); window.emitted = fate((async () => client.emit('x'))()); }")
    assert await page.evaluate("emitted") == ["ConnectionLost", "connection_lost"]


async def test_a_client_that_is_closed_forgets_what_waited(page: Page, peer: Peer) -> None:
    await page.evaluate("() => { start(); client.emit('x'); client.close(); start(); }")
    connections = [await peer.accept()]
    await wait_until(page, "client.state === 'open'")
    if not peer.connections.empty():  # the first attempt may have got through before the close
        connections.append(await peer.accept())
    await expect_no_answer(page, connections[-1])


async def test_a_question_does_not_wait_for_a_connection(page: Page, peer: Peer) -> None:
    await page.evaluate("() => { start(); window.asked = fate(client.emitWithAck('x')); }")
    assert await page.evaluate("asked") == ["ConnectionLost", "connection_lost"]
    await expect_no_answer(page, await peer.accept())


async def test_a_question_is_never_asked_twice(page: Page, peer: Peer) -> None:
    first = await start(page, peer)
    await page.evaluate("() => { window.asked = fate(client.emitWithAck('x')); }")
    assert await receive(first) == "x||1"
    second = await take_back(page, peer, first)
    assert await page.evaluate("asked") == ["ConnectionLost", "connection_lost"]
    await expect_no_answer(page, second)


async def test_a_question_with_retries_is_asked_again_before_what_waited(page: Page, peer: Peer) -> None:
    first = await start(page, peer)
    await page.evaluate(
        """() => {
            window.asked = fate(client.emitWithAck("x", 5, { retries: 1 }));
            client.onDisconnect(() => client.emit("waited"));
        }"""
    )
    assert await receive(first) == "x||1||5"
    second = await take_back(page, peer, first)
    assert [await receive(second), await receive(second)] == ["x||1||5", "waited||0"]
    await second.send("__ack_x||1||yes")
    assert await page.evaluate("asked") == ["resolved", "yes"]


async def test_a_question_is_asked_again_as_often_as_it_may(page: Page, peer: Peer) -> None:
    connection = await start(page, peer)
    await page.evaluate("() => { window.asked = fate(client.emitWithAck('x', null, { retries: 2 })); }")
    for _ in range(3):
        assert await receive(connection) == "x||1"
        connection = await take_back(page, peer, connection)
    assert await page.evaluate("asked") == ["ConnectionLost", "connection_lost"]
    await expect_no_answer(page, connection)


async def test_a_question_with_retries_waits_for_the_connection(page: Page, peer: Peer) -> None:
    await page.evaluate("() => { start(); window.asked = client.emitWithAck('x', null, { retries: 1 }); }")
    connection = await peer.accept()
    assert await receive(connection) == "x||1"
    await connection.send("__ack_x||1||yes")
    assert await page.evaluate("asked") == "yes"


async def test_a_question_that_waited_for_the_connection_is_asked_again_as_often_as_it_may(
    page: Page, peer: Peer
) -> None:
    await page.evaluate("() => { start(); window.asked = fate(client.emitWithAck('x', null, { retries: 1 })); }")
    connection = await peer.accept()
    for _ in range(2):
        assert await receive(connection) == "x||1"
        connection = await take_back(page, peer, connection)
    assert await page.evaluate("asked") == ["ConnectionLost", "connection_lost"]
    await expect_no_answer(page, connection)


async def test_a_question_with_retries_rejects_when_the_client_gives_up(page: Page, peer: Peer) -> None:
    connection = await start(page, peer)
    await page.evaluate("() => { window.asked = fate(client.emitWithAck('x', null, { retries: 9 })); }")
    await connection.close(4403)
    assert await page.evaluate("asked") == ["ConnectionLost", "connection_lost"]


async def test_a_question_that_has_timed_out_is_not_asked_again(page: Page, peer: Peer) -> None:
    first = await start(page, peer, minDelay=3_600_000, maxDelay=3_600_000)
    await page.evaluate("() => { window.asked = fate(client.emitWithAck('x', 0, { retries: 9, timeout: 200 })); }")
    await receive(first)
    await first.close(1012)
    assert await page.evaluate("asked") == ["AckTimeout", "ack_timeout"]
    await page.evaluate("client.connect()")
    await expect_no_answer(page, await peer.accept())


# The heartbeat


async def test_a_silent_server_is_given_up(page: Page, peer: Peer) -> None:
    connection = await start(page, peer, heartbeat=50)
    assert await receive(connection) == "__ping||1"
    await peer.accept()
    await wait_until(page, "seen.length >= 3")
    assert await page.evaluate("seen.slice(0, 3)") == ["connect", ["disconnect", 1006, False, True], "connect"]


@asynccontextmanager
async def faked_clock(tab: Page, peer: Peer) -> AsyncIterator[Page]:
    """A page, as `page`, whose time passes with `page.clock.run_for` alone."""
    assert tab.context.browser is not None
    async with await tab.context.browser.new_context() as context:
        page = await context.new_page()
        await page.clock.install()
        await open_page(page, peer.url)
        await page.clock.pause_at(datetime.datetime.now() + datetime.timedelta(hours=1))
        yield page


async def test_a_dead_server_is_noticed_within_30_seconds(tab: Page, peer: Peer) -> None:
    async with faked_clock(tab, peer) as page:
        connection = await start(page, peer)
        await page.clock.run_for(30_000)
        assert await receive(connection) == "__ping||1"
        assert (await page.evaluate("seen"))[1] == ["disconnect", 1006, False, True]


@pytest.mark.parametrize("sign_of_life", ["__ack___ping||1", "news||0"])
async def test_a_server_that_sends_anything_is_kept(tab: Page, peer: Peer, sign_of_life: str) -> None:
    async with faked_clock(tab, peer) as page:
        connection = await start(page, peer)
        await page.evaluate("() => client.on('marker', () => seen.push('marker'))")
        await page.clock.run_for(13_000)
        assert await receive(connection) == "__ping||1"
        await connection.send(sign_of_life)
        await connection.send("marker||0")
        await wait_until(page, "seen.includes('marker')")
        await page.clock.run_for(23_500)
        assert await receive(connection) == "__ping||2"
        assert await page.evaluate("seen") == ["connect", "marker"]


async def test_without_a_heartbeat_nothing_is_sent(tab: Page, peer: Peer) -> None:
    async with faked_clock(tab, peer) as page:
        connection = await start(page, peer, heartbeat=0)
        await page.clock.run_for(120_000)
        await expect_no_answer(page, connection)


# Waking up


async def test_it_reconnects_at_once_when_the_browser_is_online_again(page: Page, peer: Peer) -> None:
    connection = await start_patient(page, peer)
    await page.context.set_offline(True)
    try:
        await connection.close(1012)
        await wait_until(page, "client.state === 'connecting'")
    finally:
        await page.context.set_offline(False)
    await peer.accept()
    await wait_until(page, "client.state === 'open'")


async def test_it_reconnects_at_once_when_the_page_becomes_visible(page: Page, peer: Peer) -> None:
    connection = await start_patient(page, peer)
    await connection.close(1012)
    await wait_until(page, "client.state === 'connecting'")
    await page.evaluate(_SHOW, False)
    assert await page.evaluate("client.state") == "connecting"
    await page.evaluate(_SHOW, True)
    await peer.accept()
    await wait_until(page, "client.state === 'open'")


async def test_it_doubts_a_connection_that_seems_open_when_the_page_becomes_visible(page: Page, peer: Peer) -> None:
    connection = await start(page, peer)
    await page.evaluate(_SHOW, True)
    assert await receive(connection) == "__ping||1"


async def test_a_closed_client_does_not_wake_up(page: Page, peer: Peer) -> None:
    await start(page, peer)
    await page.evaluate("() => { client.close(); dispatchEvent(new Event('online')); }")
    assert await page.evaluate("client.state") == "closed"


# Headless Chromium holds every page for visible.
_SHOW = """(isVisible) => {
    Object.defineProperty(document, "hidden", { value: !isVisible, configurable: true });
    document.dispatchEvent(new Event("visibilitychange", { bubbles: true }));
}"""


async def start_patient(page: Page, peer: Peer) -> ServerConnection:
    """Connect a client that would wait for an hour before it reconnects."""
    await page.evaluate("() => { Math.random = () => 1; }")
    return await start(page, peer, minDelay=3_600_000, maxDelay=3_600_000)


# Parameters


@pytest.mark.parametrize(
    ("params", "path"),
    [
        ("{ token: 'a b&c', page: 2 }", "/ws/?fixed=1&token=a+b%26c&page=2"),
        ("[['tag', 'a'], ['tag', 'b']]", "/ws/?fixed=1&tag=a&tag=b"),
        ("'token=abc'", "/ws/?fixed=1&token=abc"),
        ("async () => ({ token: 'abc' })", "/ws/?fixed=1&token=abc"),
        ("undefined", "/ws/?fixed=1"),
    ],
)
async def test_parameters_become_the_query(page: Page, peer: Peer, params: str, path: str) -> None:
    await page.evaluate(f"() => {{ start({{ params: {params} }}, '/ws/?fixed=1'); }}")
    assert (await peer.accept()).request.path == path


async def test_parameters_are_asked_for_at_each_attempt(page: Page, peer: Peer) -> None:
    await page.evaluate("() => { let calls = 0; start({ params: async () => ({ token: ++calls }) }); }")
    connection = await peer.accept()
    await wait_until(page, "client.state === 'open'")
    second = await take_back(page, peer, connection)
    assert [connection.request.path, second.request.path] == ["/ws/?token=1", "/ws/?token=2"]


async def test_parameters_that_fail_are_reported_and_asked_for_again(page: Page, peer: Peer) -> None:
    await page.evaluate(
        """() => {
            let calls = 0;
            start({ params: async () => { if (++calls === 1) throw new Error("no token"); return { token: calls }; } });
        }"""
    )
    assert (await peer.accept()).request.path == "/ws/?token=2"
    assert await page.evaluate("seen[0]") == ["error", "no token"]


async def test_a_client_that_is_closed_while_it_waits_for_parameters_stays_closed(page: Page, peer: Peer) -> None:
    await page.evaluate(
        """async () => {
            let finish;
            window.opened = fate(start({ params: () => new Promise((resolve) => { finish = resolve; }) }));
            client.close();
            finish({ token: "late" });
        }"""
    )
    assert await page.evaluate("opened") == ["ConnectionLost", "connection_lost"]
    await page.evaluate("() => start({ params: 'token=new' })")
    assert (await peer.accept()).request.path == "/ws/?token=new"


# Tokens


def offers(connection: ServerConnection) -> list[str]:
    """Return the subprotocols that a client offered."""
    assert connection.request is not None
    return connection.request.headers.get("Sec-WebSocket-Protocol", "").split(", ")


@pytest.mark.parametrize(
    ("token", "offered"),
    [
        ("'abc'", ["etp.ext.v2", "etp.ext.v1", "etp.token.YWJj"]),
        ("() => 'a'", ["etp.ext.v2", "etp.ext.v1", "etp.token.YQ"]),
        ("async () => 'schlüssel>>??'", ["etp.ext.v2", "etp.ext.v1", "etp.token.c2NobMO8c3NlbD4-Pz8"]),
        ("null", [""]),
        ("async () => undefined", [""]),
        ("''", [""]),
    ],
)
async def test_a_token_is_offered_as_a_subprotocol(page: Page, peer: Peer, token: str, offered: list[str]) -> None:
    await page.evaluate(f"() => {{ start({{ token: {token} }}); }}")
    connection = await peer.accept()
    assert offers(connection) == offered
    assert connection.request.path == "/ws/"


async def test_a_token_is_asked_for_at_each_attempt_and_again_if_that_fails(page: Page, peer: Peer) -> None:
    await page.evaluate(
        """() => {
            let calls = 0;
            start({ token: async () => { if (++calls === 2) throw new Error("no token"); return `${calls}`; } });
        }"""
    )
    connection = await peer.accept()
    assert offers(connection) == ["etp.ext.v2", "etp.ext.v1", "etp.token.MQ"]
    await connection.send('__hello||0||{"id": "abc"}')
    await wait_until(page, "client.state === 'open'")
    await connection.close(4401, "the token expired")
    connection = await peer.accept()
    assert offers(connection) == ["etp.ext.v2", "etp.ext.v1", "etp.token.Mw"]
    assert await page.evaluate("seen.at(-1)") == ["error", "no token"]


async def start_with_token(page: Page, peer: Peer, token: str, expires_in: float) -> ServerConnection:
    await page.evaluate(f"() => {{ window.calls = 0; start({{ token: {token} }}); }}")
    connection = await peer.accept()
    await connection.send(f'__hello||0||{{"id": "abc", "expires_in": {expires_in}}}')
    await wait_until(page, "client.state === 'open'")
    return connection


async def test_a_token_is_renewed_before_it_expires(page: Page, peer: Peer) -> None:
    connection = await start_with_token(page, peer, "async () => `token ${++calls}`", 0.5)
    for ack_id, token in ((1, "token 2"), (2, "token 3")):
        assert await receive(connection) == f'__auth||{ack_id}||{{"token":"{token}"}}'
        await connection.send(f'__ack___auth||{ack_id}||{{"expires_in": 0.4}}')
    assert await receive(connection) == '__auth||3||{"token":"token 4"}'
    await connection.send("__ack___auth||3||{}")  # it does not expire any more
    await wait_until(page, "performance.now() > (window.since ??= performance.now()) + 600")
    assert await page.evaluate("[calls, seen]") == [4, ["connect"]]
    await expect_no_answer(page, connection)


async def test_a_renewal_that_fails_is_reported_and_tried_again(page: Page, peer: Peer) -> None:
    token = "async () => { if (++calls === 2) throw new Error('offline'); return `${calls}`; }"
    connection = await start_with_token(page, peer, token, 3)
    assert await receive(connection) == '__auth||1||{"token":"3"}'
    await connection.send('__err___auth||1||{"code": "permission_denied", "message": "no"}')
    await wait_until(page, "seen.length === 3")
    assert await page.evaluate("seen") == ["connect", ["error", "offline"], ["error", "permission_denied"]]


async def test_a_failure_has_all_that_the_server_sent(page: Page, peer: Peer) -> None:
    connection = await start_extended(page, peer)
    await page.evaluate(
        """() => {
            const values = ({ code, errors, details, retryAfter }) => [code, errors, details, retryAfter];
            window.failing = client.emitWithAck("pay").catch(values);
        }"""
    )
    assert await receive(connection) == "pay||1"
    errors = [{"path": ["items", 0, "price"], "message": "a number is expected", "code": "float_type"}]
    failure = {"code": "invalid_payload", "message": "no", "errors": errors, "details": {"by": 7}, "retry_after": 1.5}
    await connection.send(f"__err_pay||1||{json.dumps(failure)}")
    assert await page.evaluate("failing") == ["invalid_payload", errors, {"by": 7}, 1.5]


@pytest.mark.parametrize("token", ["'a value'", "async () => `${++calls}`"])
async def test_nothing_is_renewed_for_a_value_or_after_the_end(page: Page, peer: Peer, token: str) -> None:
    connection = await start_with_token(page, peer, token, 0.4)
    if "calls" in token:
        await page.evaluate("client.close()")
    await wait_until(page, "performance.now() > (window.since ??= performance.now()) + 600")
    if "calls" in token:
        assert await page.evaluate("calls") == 1
    else:
        await expect_no_answer(page, connection)


# Addresses


async def test_a_relative_url_takes_the_pages_host(page: Page, peer: Peer) -> None:
    async with page.expect_websocket() as opened:
        await start(page, peer)
    assert (await opened.value).url == f"ws://127.0.0.1:{peer.port}/ws/"


async def test_a_relative_url_on_an_https_page_is_wss(page: Page) -> None:
    await page.route("https://etp.test/**", answer_http)
    await open_page(page, "https://etp.test/")
    async with page.expect_websocket() as opened:
        await page.evaluate("() => { start({ reconnect: false }); }")
    assert (await opened.value).url == "wss://etp.test/ws/"


async def test_an_absolute_http_url_becomes_ws(page: Page, peer: Peer) -> None:
    await page.evaluate("(url) => { start({}, url); }", f"{peer.url}ws/")
    assert (await peer.accept()).request.path == "/ws/"
