"""One declared room of the Python client, against a server that the test plays itself."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from websockets.asyncio.server import ServerConnection

from django_etp.client.room import ClientRoom
from django_etp.exceptions import AckTimeout, ConnectionClosed, EtpError, EventFailed, InvalidEventName
from django_etp.protocol import Event
from django_etp.protocol.past import PastEvent
from tests.support.inprocess import until
from tests.support.room_peers import WAIT, Peer, join, pong, receive, refused, start_peer


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    async with start_peer() as peer:
        yield peer


async def test_a_join_returns_the_state(peer: Peer) -> None:
    async with peer.client() as client:
        room, connection, states = client.room("orders/5"), await peer.accept(), []
        room.on_state(lambda state, recovered: states.append((state, recovered)))
        assert not room.is_joined
        assert await join(room, connection, {"status": "paid"}) == {"status": "paid"}
        assert room.is_joined
        assert states == [({"status": "paid"}, False)]
        assert client.room("orders/5") is room


async def test_the_state_comes_before_the_events_that_follow_it(peer: Peer) -> None:
    async with peer.client() as client:
        room, connection, seen = client.room("orders/5"), await peer.accept(), []
        room.on_state(lambda state, recovered: seen.append(state))
        room.on("changed")(lambda event: seen.append(event))
        joining = asyncio.ensure_future(room.join())
        await receive(connection)
        # In one write, so that the client reads both without a turn of the loop between them.
        async with connection.send_context():
            for frame in ('__ack___join||1||{"state":1}', "__in orders/5 changed||0||2"):
                connection.protocol.send_text(frame.encode())
        await joining
        await pong(client, connection)
        assert seen == [1, Event("changed", 0, "2")]


async def test_a_question_in_a_room_is_answered_by_its_name_on_the_wire(peer: Peer) -> None:
    async with peer.client() as client:
        room, connection = client.room("orders/5"), await peer.accept()
        room.on("sure?")(lambda event: {"sure": event.data})
        await join(room, connection)
        await connection.send("__in orders/5 sure?||9||yes")
        assert await receive(connection) == '__ack___in orders/5 sure?||9||{"sure":"yes"}'
        await connection.send("__in orders/5 nosuch||10")
        assert (await receive(connection)).startswith("__err___in orders/5 nosuch||10||")


async def test_sends_and_asks_inside_the_room(peer: Peer) -> None:
    async with peer.client() as client:
        room, connection = client.room("orders/5"), await peer.accept()
        await join(room, connection)
        await room.emit("say", {"text": "hello"})
        assert await receive(connection) == '__in orders/5 say||0||{"text":"hello"}'
        asking = asyncio.ensure_future(room.emit_with_ack("say", "hello"))
        assert await receive(connection) == "__in orders/5 say||2||hello"
        await connection.send("__ack___in orders/5 say||2||5")
        assert (await asking).data == "5"


async def test_sends_nothing_inside_a_room_that_it_is_not_in(peer: Peer) -> None:
    async with peer.client() as client:
        with pytest.raises(EtpError, match="join it first"):
            await client.room("orders/5").emit("say")
        with pytest.raises(EtpError, match="join it first"):
            await client.room("orders/5").emit_with_ack("say")


@pytest.mark.parametrize("code", ["permission_denied", "not_found", "handler_error", "too_many_rooms"])
async def test_a_refused_join_leaves_it_outside(peer: Peer, code: str) -> None:
    async with peer.client() as client:
        room, connection = client.room("orders/5"), await peer.accept()
        joining = asyncio.ensure_future(room.join())
        await receive(connection)
        await connection.send(f'__err___join||1||{{"code":"{code}","message":"No."}}')
        assert (await refused(joining)).code == code
        assert not room.is_wanted
        await connection.close(1012)
        await expect_no_join(await peer.accept())


async def expect_no_join(connection: ServerConnection) -> None:
    """Fail if the client joins a room on a new connection."""
    await connection.send("__ping||78")
    assert await receive(connection) == "__ack___ping||78"


async def test_what_is_sent_inside_a_room_waits_for_the_return(peer: Peer) -> None:
    async with peer.client() as client:
        room, connection = client.room("orders/5"), await peer.accept()
        await join(room, connection)
        await connection.close(1012)
        connection = await peer.accept()
        assert await receive(connection) == '__join||1||{"room":"orders/5"}'
        sending = asyncio.ensure_future(room.emit("say", "again"))
        await expect_no_join(connection)
        assert not sending.done()
        await connection.send("__ack___join||1||{}")
        assert await receive(connection) == "__in orders/5 say||0||again"
        await sending


async def test_a_refused_return_ends_the_room(peer: Peer) -> None:
    async with peer.client() as client:
        room, connection = client.room("orders/5"), await peer.accept()
        left: asyncio.Queue[EventFailed] = asyncio.Queue()
        room.on_left(left.put)
        await join(room, connection)
        await connection.close(1012)
        connection = await peer.accept()
        await receive(connection)
        await connection.send('__err___join||1||{"code":"permission_denied","message":"No more."}')
        async with asyncio.timeout(WAIT):
            reason = await left.get()
        assert (reason.code, reason.message) == ("permission_denied", "No more.")
        assert not room.is_wanted
        await connection.close(1012)
        await expect_no_join(await peer.accept())


async def test_a_return_whose_refusal_says_when_to_try_again_is_tried_again(peer: Peer) -> None:
    async with peer.client() as client:
        room, connection = client.room("orders/5"), await peer.accept()
        left: asyncio.Queue[EventFailed] = asyncio.Queue()
        room.on_left(left.put)
        await join(room, connection)
        await connection.close(1012)
        connection = await peer.accept()
        for number in (1, 2):
            assert await receive(connection) == f'__join||{number}||{{"room":"orders/5"}}'
            await connection.send(f'__err___join||{number}||{{"code":"handler_error","retry_after":0.01}}')
        assert await receive(connection) == '__join||3||{"room":"orders/5"}'
        sending = asyncio.ensure_future(room.emit("say", "again"))
        await connection.send("__ack___join||3||{}")
        assert await receive(connection) == "__in orders/5 say||0||again"
        await sending
        assert room.is_joined
        assert left.empty()


async def test_who_leaves_before_the_next_try_does_not_return(peer: Peer) -> None:
    async with peer.client() as client:
        room, connection = client.room("orders/5"), await peer.accept()
        await join(room, connection)
        await connection.close(1012)
        connection = await peer.accept()
        await receive(connection)
        await connection.send('__err___join||1||{"code":"handler_error","retry_after":0.05}')
        leaving = asyncio.ensure_future(room.leave())
        assert (await receive(connection)).startswith("__leave||")
        await connection.send("__ack___leave||2||")
        await leaving
        with pytest.raises(EtpError):
            await room.emit("say")
        await expect_no_join(connection)
        assert not room.is_wanted


async def test_who_leaves_and_joins_again_waits_for_no_earlier_return(peer: Peer) -> None:
    async with peer.client() as client:
        room, connection = client.room("orders/5"), await peer.accept()
        await join(room, connection)
        await connection.close(1012)
        connection = await peer.accept()
        await receive(connection)
        await connection.send('__err___join||1||{"code":"handler_error","retry_after":3600}')
        waiting = asyncio.ensure_future(room.emit("say"))
        leaving = asyncio.ensure_future(room.leave())
        assert (await receive(connection)).startswith("__leave||")
        await connection.send("__ack___leave||2||")
        await leaving
        with pytest.raises(EtpError, match="join it first"):
            await waiting
        await join(room, connection, ack=3)
        await room.emit("say", "again")
        assert await receive(connection) == "__in orders/5 say||0||again"


async def test_who_joins_before_the_next_try_is_in_the_room_at_once(peer: Peer) -> None:
    async with peer.client() as client:
        room, connection = client.room("orders/5"), await peer.accept()
        await join(room, connection)
        await connection.close(1012)
        connection = await peer.accept()
        await receive(connection)
        await connection.send('__err___join||1||{"code":"handler_error","retry_after":0.05}')
        await join(room, connection, ack=2)
        assert room.is_joined
        await room.emit("say", "again")
        assert await receive(connection) == "__in orders/5 say||0||again"
        await asyncio.sleep(0.1)
        await expect_no_join(connection)


async def test_a_function_of_on_left_may_join_again_and_send(peer: Peer) -> None:
    async with peer.client() as client:
        room, connection = client.room("orders/5"), await peer.accept()

        @room.on_left
        async def come_back(reason: EventFailed) -> None:
            await room.join()
            await room.emit("say", "again")

        await join(room, connection)
        await connection.close(1012)
        connection = await peer.accept()
        await receive(connection)
        await connection.send('__err___join||1||{"code":"permission_denied","message":"Not now."}')
        assert await receive(connection) == '__join||2||{"room":"orders/5"}'
        await connection.send("__ack___join||2||{}")
        assert await receive(connection) == "__in orders/5 say||0||again"


async def test_the_server_takes_it_out(peer: Peer) -> None:
    async with peer.client() as client:
        room, connection = client.room("orders/5"), await peer.accept()
        left: asyncio.Queue[EventFailed] = asyncio.Queue()
        room.on_left(left.put)
        await join(room, connection)
        await connection.send('__left||0||{"room":"orders/5","code":"permission_denied","message":"Gone."}')
        async with asyncio.timeout(WAIT):
            assert (await left.get()).code == "permission_denied"
        assert not room.is_joined
        with pytest.raises(EtpError, match="join it first"):
            await room.emit("say")
        await connection.close(1012)
        connection = await peer.accept()
        await expect_no_join(connection)
        assert await join(room, connection, "back", ack=1) == "back"


async def test_leaves(peer: Peer) -> None:
    async with peer.client() as client:
        room, connection, seen = client.room("orders/5"), await peer.accept(), []
        room.on("say")(lambda event: seen.append(event))
        await join(room, connection)
        leaving = asyncio.ensure_future(room.leave())
        assert await receive(connection) == '__leave||2||{"room":"orders/5"}'
        await connection.send("__in orders/5 say||0||late")
        await connection.send("__ack___leave||2")
        await leaving
        await pong(client, connection)
        assert seen == []
        await room.leave()  # again, which does nothing
        await connection.close(1012)
        await expect_no_join(await peer.accept())


async def test_leaving_while_joining_leaves(peer: Peer) -> None:
    async with peer.client() as client:
        room, connection = client.room("orders/5"), await peer.accept()
        joining = asyncio.ensure_future(room.join())
        await receive(connection)
        leaving = asyncio.ensure_future(room.leave())
        assert await receive(connection) == '__leave||2||{"room":"orders/5"}'
        await connection.send("__ack___join||1||{}")
        await connection.send("__ack___leave||2")
        await asyncio.gather(joining, leaving, return_exceptions=True)
        assert not room.is_wanted


async def test_a_block_joins_and_leaves(peer: Peer) -> None:
    async with peer.client() as client:
        connection = await peer.accept()

        async def stay() -> None:
            async with client.room("orders/5") as room:
                assert room.is_joined

        staying = asyncio.ensure_future(stay())
        assert await receive(connection) == '__join||1||{"room":"orders/5"}'
        await connection.send("__ack___join||1||{}")
        assert await receive(connection) == '__leave||2||{"room":"orders/5"}'
        await connection.send("__ack___leave||2")
        await staying


async def test_a_join_that_is_given_up_leaves_the_room(peer: Peer) -> None:
    async with peer.client() as client:
        room, connection = client.room("orders/5"), await peer.accept()
        with pytest.raises(AckTimeout):
            await room.join(timeout=0.05)
        assert await receive(connection) == '__join||1||{"room":"orders/5"}'
        assert await receive(connection) == '__leave||0||{"room":"orders/5"}'
        await connection.send("__ack___join||1||{}")
        await pong(client, connection)
        assert not room.is_wanted


async def test_a_join_that_the_end_of_the_connection_cuts_off_is_not_made_again(peer: Peer) -> None:
    async with peer.client() as client:
        room, connection = client.room("orders/5"), await peer.accept()
        joining = asyncio.ensure_future(room.join())
        await receive(connection)
        await connection.close(1012)
        with pytest.raises(ConnectionClosed):
            await joining
        await expect_no_join(await peer.accept())


async def test_a_return_that_breaks_is_made_again(peer: Peer) -> None:
    async with peer.client() as client:
        room, connection = client.room("orders/5"), await peer.accept()
        await join(room, connection)
        for _ in range(3):
            await connection.close(1012)
            connection = await peer.accept()
            assert await receive(connection) == '__join||1||{"room":"orders/5"}'


async def test_errors_in_the_rooms_functions_are_reported(peer: Peer) -> None:
    async with peer.client() as client:
        room, connection = client.room("orders/5"), await peer.accept()
        errors: asyncio.Queue[Exception] = asyncio.Queue()
        client.on_error(errors.put)
        room.on_state(lambda state, recovered: 1 / 0)
        await join(room, connection)
        async with asyncio.timeout(WAIT):
            assert isinstance(await errors.get(), ZeroDivisionError)


# History


async def test_a_return_asks_for_the_events_after_the_last_one_that_came(peer: Peer) -> None:
    async with peer.client() as client:
        room, connection, seen = client.room("orders/5"), await peer.accept(), []
        room.on_state(lambda state, recovered: seen.append((state, recovered)))
        room.on("changed")(lambda event: seen.append(event.data))
        joining = asyncio.ensure_future(room.join())
        assert await receive(connection) == '__join||1||{"room":"orders/5"}'
        await connection.send('__ack___join||1||{"state":"old","position":"e.7","recovered":false}')
        await joining
        assert room.position == "e.7"
        await connection.send("__in orders/5@e.8 changed||0||a")
        await pong(client, connection)
        await connection.close(1012)
        connection = await peer.accept()
        assert await receive(connection) == '__join||1||{"room":"orders/5","since":"e.8"}'
        await connection.send('__ack___join||1||{"state":"new","position":"e.10","recovered":true}')
        await pong(client, connection)
        assert room.position == "e.8"  # the others are still to come
        await connection.send("__in orders/5@e.9 changed||0||b")
        await pong(client, connection)
        assert room.position == "e.9"
        assert seen == [("old", False), "a", ("new", True), "b"]
        await connection.close(1012)
        connection = await peer.accept()
        assert await receive(connection) == '__join||1||{"room":"orders/5","since":"e.9"}'
        await connection.send('__ack___join||1||{"state":"newer","position":"f.3","recovered":false}')
        await pong(client, connection)
        assert room.position == "f.3"
        assert seen[-1] == ("newer", False)


async def test_a_position_from_elsewhere_goes_with_the_first_join(peer: Peer) -> None:
    async with peer.client() as client:
        room, connection = client.room("orders/5", since="e.3"), await peer.accept()
        joining = asyncio.ensure_future(room.join())
        assert await receive(connection) == '__join||1||{"room":"orders/5","since":"e.3"}'
        await connection.send('__ack___join||1||{"position":"e.3","recovered":true}')
        await joining
        assert client.room("orders/5", since="e.1").position == "e.3"
        leaving = asyncio.ensure_future(room.leave())
        await receive(connection)
        await connection.send("__ack___leave||2")
        await leaving
        assert room.position is None


async def test_past_events_are_asked_for(peer: Peer) -> None:
    async with peer.client() as client:
        room, connection = client.room("orders/5"), await peer.accept()
        with pytest.raises(EtpError, match="not in the room"):
            await room.history()
        await join(room, connection)
        asking = asyncio.ensure_future(room.history(limit=2, before="e.9"))
        assert await receive(connection) == '__history||2||{"room":"orders/5","limit":2,"before":"e.9"}'
        past = {"position": "e.8", "event": "changed", "data": "5", "at": 1.5}
        await connection.send(f'__ack___history||2||{{"events":[{json.dumps(past)}]}}')
        assert await asking == [PastEvent("e.8", "changed", "5", datetime.fromtimestamp(1.5, UTC))]
        asking = asyncio.ensure_future(room.history(timeout=0.01))
        await receive(connection)
        with pytest.raises(AckTimeout):
            await asking


async def test_an_event_that_a_second_join_repeats_is_dropped(peer: Peer) -> None:
    async with peer.client() as client:
        room, connection, seen = client.room("orders/5", since="e.7"), await peer.accept(), []
        room.on("changed")(lambda event: seen.append(event.data))
        joining = asyncio.ensure_future(room.join())
        await receive(connection)
        await connection.send('__ack___join||1||{"position":"e.9","recovered":true}')
        await joining
        for position in ("e.8", "e.9", "e.9", "e.8", "e.10", "f.1", "f.2"):
            await connection.send(f"__in orders/5@{position} changed||0||{position}")
        await pong(client, connection)
        assert seen == ["e.8", "e.9", "e.10", "f.1", "f.2"]
        assert room.position == "f.2"


async def test_a_room_without_history_may_have_an_at_sign_in_its_name(peer: Peer) -> None:
    async with peer.client() as client:
        room, before, connection, seen = client.room("users/a@b.c"), client.room("users/a"), await peer.accept(), []
        for each in (room, before):
            each.on("changed")(lambda event, each=each: seen.append((each.name, event.data)))
        await join(room, connection)
        await join(before, connection, ack=2)
        await connection.send("__in users/a@b.c changed||0||x")
        await pong(client, connection)
        assert seen == [("users/a@b.c", "x")]


async def test_a_join_that_is_answered_right_after_the_end_of_the_membership_counts(peer: Peer) -> None:
    async with peer.client() as client:
        room, connection = client.room("orders/5"), await peer.accept()
        left: asyncio.Queue[EventFailed] = asyncio.Queue()
        room.on_left(left.put)
        await join(room, connection)
        joining = asyncio.ensure_future(room.join())
        await receive(connection)
        await connection.send('__left||0||{"room": "orders/5", "code": "removed", "message": ""}')
        await connection.send('__ack___join||2||{"state": 2}')
        async with asyncio.timeout(WAIT):
            assert await joining == 2
            assert (await left.get()).code == "removed"
        assert room.is_joined


async def test_events_that_came_before_the_end_of_the_membership_are_handled(peer: Peer) -> None:
    async with peer.client() as client:
        room, connection = client.room("orders/5"), await peer.accept()
        got: asyncio.Queue[str] = asyncio.Queue()
        room.on("changed")(lambda event: got.put(event.data))
        room.on_left(lambda reason: got.put(str(reason.code)))
        await join(room, connection)
        for frame in ("__in orders/5 changed||0||1", '__left||0||{"room": "orders/5"}', "__in orders/5 changed||0||2"):
            await connection.send(frame)
        await pong(client, connection)
        assert [await got.get(), await got.get(), got.qsize()] == ["1", "", 0]


async def test_the_end_of_a_membership_that_there_is_not_changes_nothing(peer: Peer) -> None:
    async with peer.client() as client:
        room, connection = client.room("orders/5"), await peer.accept()
        got: asyncio.Queue[object] = asyncio.Queue()
        room.on_left(got.put)
        client.on_error(got.put)
        for data in ('{"room": "orders/5"}', '{"room": "orders/6"}', '{"room": ["orders/5"]}', "{", "[]", ""):
            await connection.send(f"__left||0||{data}")
        await pong(client, connection)
        await join(room, connection)
        assert room.is_joined
        assert got.empty()


# Streamed answers


async def collect(room: ClientRoom, seen: list[str], *, timeout: float | None = None) -> None:
    async for part in room.stream("ask", {"a": 1}, timeout=timeout):
        seen.append(part.data)


async def test_streams_inside_the_room(peer: Peer) -> None:
    async with peer.client() as client:
        room, connection, seen = client.room("orders/5"), await peer.accept(), list[str]()
        await join(room, connection)
        reading = asyncio.ensure_future(collect(room, seen))
        assert await receive(connection) == '__in orders/5 ask||2||{"a":1}'
        await connection.send("__part___in orders/5 ask||2||one")
        await pong(client, connection)
        assert seen == ["one"]
        await connection.send('__err___in orders/5 ask||2||{"code":"busy"}')
        with pytest.raises(EventFailed, match="busy"):
            await reading
        with pytest.raises(AckTimeout, match="No further part of the answer to '__in orders/5 ask'"):
            await collect(room, seen, timeout=0.02)
        assert await receive(connection) == '__in orders/5 ask||3||{"a":1}'
        assert await receive(connection) == "__stop___in orders/5 ask||3"


async def test_a_loop_that_ends_early_stops_the_stream_inside_the_room(peer: Peer) -> None:
    async with peer.client() as client:
        room, connection = client.room("orders/5"), await peer.accept()
        await join(room, connection)
        parts = room.stream("ask")
        first = asyncio.ensure_future(anext(parts))
        assert await receive(connection) == "__in orders/5 ask||2"
        await connection.send("__part___in orders/5 ask||2||one")
        assert (await first).data == "one"
        await parts.aclose()
        assert await receive(connection) == "__stop___in orders/5 ask||2"


async def test_the_server_takes_the_client_out_of_the_room_of_a_stream(peer: Peer) -> None:
    async with peer.client() as client:
        room, other, connection = client.room("orders/5"), client.room("orders/55"), await peer.accept()
        await join(room, connection)
        await join(other, connection, ack=2)
        seen, kept = list[str](), list[str]()
        reading = asyncio.ensure_future(collect(room, seen))
        await receive(connection)
        keeping = asyncio.ensure_future(collect(other, kept))
        await receive(connection)
        await connection.send("__part___in orders/5 ask||3||one")
        await connection.send('__left||0||{"room":"orders/5","code":"removed","message":"Gone."}')
        with pytest.raises(EventFailed, match="Gone") as failed:
            await reading
        assert (seen, failed.value.code, failed.value.is_from_peer) == (["one"], "removed", True)
        await connection.send("__ack___in orders/55 ask||4||all")
        await keeping
        assert kept == ["all"]
        with pytest.raises(EtpError, match="join it first"):
            await collect(room, seen)
        await pong(client, connection)  # and no stop


async def test_a_client_that_leaves_the_room_gets_no_further_part(peer: Peer) -> None:
    async with peer.client() as client:
        room, connection = client.room("orders/5"), await peer.accept()
        await join(room, connection)
        parts = room.stream("ask")
        first = asyncio.ensure_future(anext(parts))
        await receive(connection)
        for number in range(150):  # more than may wait, so that the client reads nothing behind them
            await connection.send(f"__part___in orders/5 ask||2||{number}")
        assert (await first).data == "0"
        await until(lambda: len(client._current().streams._loops[2].parts) == 100)
        leaving = asyncio.ensure_future(room.leave())
        assert await receive(connection) == '__leave||3||{"room":"orders/5"}'
        await connection.send("__ack___leave||3")
        await leaving
        await connection.send("__part___in orders/5 ask||2||late")
        await pong(client, connection)  # the parts that wait hold nothing up
        with pytest.raises(EventFailed) as failed:
            await anext(parts)
        assert failed.value.code == "left"
        assert await receive(connection) == "__stop___in orders/5 ask||2"


async def test_a_stream_waits_for_the_return_and_none_is_repeated(peer: Peer) -> None:
    async with peer.client() as client:
        room, connection, seen = client.room("orders/5"), await peer.accept(), list[str]()
        await join(room, connection)
        reading = asyncio.ensure_future(collect(room, seen))
        await receive(connection)
        await connection.close(1012)
        with pytest.raises(ConnectionClosed):
            await reading
        connection = await peer.accept()
        assert await receive(connection) == '__join||1||{"room":"orders/5"}'
        reading = asyncio.ensure_future(collect(room, seen))
        await expect_no_join(connection)
        await connection.send("__ack___join||1||{}")
        assert await receive(connection) == '__in orders/5 ask||2||{"a":1}'
        await connection.send("__ack___in orders/5 ask||2||all")
        await reading
        assert seen == ["all"]


async def test_a_stream_needs_a_name_that_an_event_can_have(peer: Peer) -> None:
    async with peer.client() as client:
        room, connection = client.room("orders/5"), await peer.accept()
        await join(room, connection)
        for name in ("__ask", "a||b", "a|"):
            with pytest.raises(InvalidEventName):
                await anext(room.stream(name))
        await pong(client, connection)
