"""Rooms across processes heal by themselves: the broker, servers and senders die, stand still, end and come back."""

import asyncio
import re
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from django_etp import rooms
from django_etp.hub.names import group_name
from django_etp.presence.messages import EVERYBODY
from tests.support.clusters import Member, Script, member_of, start_script, until_answered, until_heard
from tests.support.peers import eventually
from tests.support.servers import COMPLAINTS, Server, start_server
from tests.support.valkey import LAYERS, Valkey, start_valkey

HEALED_WITHIN = 10.0  # seconds, of the broker's return
EVICTED_WITHIN = 20.0  # seconds, of a process's death
QUESTION_TIMEOUT = 2.0
SLACK = 3.0  # seconds that a busy machine may add to what is measured

EACH_LAYER = pytest.mark.parametrize("layer", LAYERS)
# For what processes do by themselves, which is the same on both layers.
ONE_LAYER = pytest.mark.parametrize("layer", ["pubsub"])
EACH_SERVER = pytest.mark.parametrize("kind", ["daphne", "uvicorn", "uvicorn-etp"])


class Cluster:
    """One broker, and processes around it that end with the test."""

    def __init__(self, stack: AsyncExitStack, valkey: Valkey, layer: str, config: dict[str, Any]) -> None:
        self._stack = stack
        self.valkey = valkey
        self.servers: list[Server] = []
        self.settings = {"CHANNEL_LAYERS": valkey.layers(layer, **config)}

    async def start(self, *kinds: str) -> list[Server]:
        """Start servers of these kinds, all at once."""
        servers = [start_server(kind, settings=self.settings) for kind in kinds]
        started = await asyncio.gather(*(asyncio.to_thread(self._stack.enter_context, each) for each in servers))
        self.servers += started
        return list(started)

    async def connect(self, server: Server, *rooms: str) -> Member:
        return await self._stack.enter_async_context(member_of(server, *rooms))

    def start_script(self) -> Script:
        return self._stack.enter_context(start_script(self.settings))

    def left_in_broker(self, word: str) -> list[str]:
        """Return the groups whose names hold a word, with who is in them where the broker knows that."""
        channels = [channel.decode() for channel in self.valkey.command("PUBSUB", "CHANNELS", f"*{word}*")]
        keys = self.valkey.keys(f"*:group:*{word}*")
        return channels + [f"{key}: {self.valkey.command('ZRANGE', key, '0', '-1')}" for key in keys]


@asynccontextmanager
async def start_cluster(layer: str, **config: Any) -> AsyncIterator[Cluster]:
    async with AsyncExitStack() as stack:
        cluster = Cluster(stack, stack.enter_context(start_valkey()), layer, config)
        try:
            yield cluster
        except BaseException:
            for server in cluster.servers:
                ours = [line for line in server.log.splitlines() if not line.startswith(" ")]
                print(f"--- the log of {server!r}, without tracebacks ---", *ours[-60:], sep="\n")
            raise


async def hub_of(member: Member) -> str:
    return (await member.ask("id")).partition(".")[0]


async def all_hear_each_other(room: str, *members: Member, timeout: float = HEALED_WITHIN) -> None:
    await asyncio.gather(*(until_heard(member, room, *members, timeout=timeout) for member in members))


async def stays(probe: Callable[[], Any], expected: object, *, timeout: float) -> None:
    """Ask `probe` for `timeout` seconds; it must answer the same all the time."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        assert await probe() == expected
        await asyncio.sleep(0.1)


def results(outcomes: list[dict[str, Any]]) -> list[Any]:
    """Return what was answered as if it were complete."""
    return [outcome["result"] for outcome in outcomes if "result" in outcome]


# The broker


@EACH_LAYER
async def test_broker_killed_and_started_empty(layer):
    async with start_cluster(layer) as cluster:
        daphne, uvicorn = await cluster.start("daphne", "uvicorn")
        one, other = await cluster.connect(daphne, "room"), await cluster.connect(uvicorn, "room")
        await all_hear_each_other("room", one, other)
        cluster.valkey.kill()
        cluster.valkey.start()
        await all_hear_each_other("room", one, other)
        for member in (one, other):
            early = await until_answered(member, "count", "room", expected=2, timeout=HEALED_WITHIN)
            assert results(early) == []


async def test_one_group_that_the_broker_evicted_is_joined_again():
    async with start_cluster("redis") as cluster:
        daphne, uvicorn = await cluster.start("daphne", "uvicorn")
        one, other = await cluster.connect(daphne, "room"), await cluster.connect(uvicorn, "room")
        await all_hear_each_other("room", one, other)
        (key,) = cluster.valkey.keys(f"*:group:{rooms.of('cluster').group_name('room')}")
        cluster.valkey.command("DEL", key)
        await all_hear_each_other("room", one, other, timeout=30)


@EACH_LAYER
async def test_broker_frozen_for_8_s(layer):
    async with start_cluster(layer) as cluster:
        daphne, uvicorn = servers = await cluster.start("daphne", "uvicorn")
        one, other = await cluster.connect(daphne, "room"), await cluster.connect(uvicorn, "room")
        await all_hear_each_other("room", one, other)
        cluster.valkey.pause()
        thawed_at = time.monotonic() + 8
        late = await cluster.connect(daphne, "room")
        assert (await one.call("emit", "room", "while frozen"))["error"] == "LayerUnavailable"
        for member in (one, late):
            await member.expect("while frozen")
        asked_at = time.monotonic()
        assert (await one.call("count", "room"))["error"] in ("LayerUnavailable", "IncompleteAnswer")
        assert time.monotonic() - asked_at < QUESTION_TIMEOUT + SLACK
        await asyncio.sleep(max(0.0, thawed_at - time.monotonic()))
        cluster.valkey.resume()
        await all_hear_each_other("room", one, late, other)
        for member in (one, other):
            early = await until_answered(member, "count", "room", expected=3, timeout=HEALED_WITHIN)
            assert results(early) == []
        assert not [server for server in servers if "is evicted" in server.log]


@ONE_LAYER
async def test_a_join_by_id_in_the_same_process_succeeds_while_the_broker_stands_still(layer):
    async with start_cluster(layer) as cluster:
        (server,) = await cluster.start("uvicorn")
        member = await cluster.connect(server)
        id = await member.ask("id")
        cluster.valkey.pause()
        assert await member.call("join", id, "room") == {"result": None}
        await member.call("emit", "room", "while frozen")
        await member.expect("while frozen")
        cluster.valkey.resume()


@EACH_LAYER
async def test_broker_down_for_20_s_while_members_and_a_server_come(layer):
    async with start_cluster(layer) as cluster:
        daphne, uvicorn = servers = await cluster.start("daphne", "uvicorn")
        one, other = await cluster.connect(daphne, "room"), await cluster.connect(uvicorn, "room")
        await all_hear_each_other("room", one, other)
        cluster.valkey.kill()
        down_until = time.monotonic() + 20

        late = await cluster.connect(uvicorn, "late")
        await late.ask("join", ["room"])
        (new_server,) = await cluster.start("daphne")
        new, newer = [await cluster.connect(new_server, "room", "late") for _ in range(2)]
        for sender, receiver in ((late, other), (new, newer)):
            assert (await sender.call("emit", "room", "while down"))["error"] == "LayerUnavailable"
            await receiver.expect("while down")
        while time.monotonic() < down_until:
            for member in (one, new):
                assert (await member.call("count", "room"))["error"] in ("LayerUnavailable", "IncompleteAnswer")
            await asyncio.sleep(1)

        cluster.valkey.start()
        await asyncio.gather(
            all_hear_each_other("room", one, other, late, new, newer),
            all_hear_each_other("late", late, new, newer),
        )
        for member, known in ((one, 3), (other, 3), (new, 2)):
            early = await until_answered(member, "count", "room", expected=5, timeout=HEALED_WITHIN)
            # The new one and the others know nothing of each other until it could announce itself.
            assert set(results(early)) <= {known}
        assert not [server for server in [*servers, new_server] if "is evicted" in server.log]
        assert [server.log.count("goes on alone") for server in (*servers, new_server)] == [0, 0, 1]


@EACH_LAYER
async def test_lone_sender_outlives_the_broker(layer):
    async with start_cluster(layer) as cluster:
        (server,) = await cluster.start("uvicorn")
        member = await cluster.connect(server, "room")
        script = cluster.start_script()
        await until_heard(script, "room", member, timeout=HEALED_WITHIN)
        assert await script.call("count", "room") == {"result": 1}
        cluster.valkey.kill()
        assert (await script.call("emit", "room", "while down"))["error"] == "LayerUnavailable"
        assert (await script.call("count", "room"))["error"] == "LayerUnavailable"
        cluster.valkey.start()
        await until_heard(script, "room", member, timeout=HEALED_WITHIN)
        await until_answered(script, "count", "room", expected=1, timeout=HEALED_WITHIN)
        code, log = script.end()
        assert (code, COMPLAINTS.findall(log)) == (0, []), log


async def test_groups_that_expire_are_joined_again_in_time():
    async with start_cluster("redis", group_expiry=4) as cluster:
        daphne, uvicorn = await cluster.start("daphne", "uvicorn")
        one, other = await cluster.connect(daphne, "room"), await cluster.connect(uvicorn, "room")
        ends_at = time.monotonic() + 15
        while (now := time.monotonic()) < ends_at:
            for sender, receiver in ((one, other), (other, one)):
                assert await sender.call("emit", "room", f"sent at {now}") == {"result": None}
                await receiver.expect(f"sent at {now}")
                receiver.events.clear()
            assert await one.call("count", "room") == {"result": 2}
            await asyncio.sleep(0.5)


@EACH_LAYER
async def test_room_without_members_leaves_nothing_in_the_broker(layer):
    async with start_cluster(layer) as cluster:
        servers = await cluster.start("daphne", "uvicorn")
        members = [await cluster.connect(server, "room", "other-room") for server in servers for _ in range(5)]
        rooms = [f"room {number}" for number in range(20)]
        await asyncio.gather(*(member.ask("join", rooms) for member in members))
        assert len(cluster.left_in_broker("etp.room")) == 24  # and those of the whole namespace and of presence
        await asyncio.gather(*(member.ask("leave", rooms) for member in members[:4]))
        await asyncio.gather(*(member.close() for member in members))

        async def probe() -> list[str]:
            return cluster.left_in_broker("etp.room")

        presence = group_name("", EVERYBODY)  # servers listen for each other while they run
        await eventually(probe, lambda left: len(left) == 1 and presence in left[0])


async def test_rights_to_channels_revoked_and_restored():
    """Redis closes the connection that subscribes, and redis-py takes its next one for subscribed."""
    async with start_cluster("pubsub") as cluster:
        daphne, uvicorn = await cluster.start("daphne", "uvicorn")
        one, other = await cluster.connect(daphne, "room"), await cluster.connect(uvicorn, "room")
        await all_hear_each_other("room", one, other)
        cluster.valkey.command("ACL", "SETUSER", "default", "resetchannels")
        await asyncio.sleep(4)  # until they are deaf
        cluster.valkey.command("ACL", "SETUSER", "default", "&*")
        await all_hear_each_other("room", one, other, timeout=3 + SLACK)


# Processes


async def test_server_killed():
    async with start_cluster("redis", expiry=5) as cluster:  # the layer that keeps members in the broker
        daphne, uvicorn, victim = await cluster.start("daphne", "uvicorn", "uvicorn")
        one, other, dying = [await cluster.connect(server, "room") for server in (daphne, uvicorn, victim)]
        dead_hub = await hub_of(dying)
        await until_answered(one, "count", "room", expected=3, timeout=HEALED_WITHIN)
        victim.kill()
        killed_at = time.monotonic()
        outcome = await one.call("members", "room")
        assert time.monotonic() - killed_at < QUESTION_TIMEOUT + SLACK
        assert outcome["error"] == "IncompleteAnswer"
        assert {info["id"] for info in outcome["answer"]} == {await one.ask("id"), await other.ask("id")}
        for member in (one, other):
            left = EVICTED_WITHIN - (time.monotonic() - killed_at)
            early = await until_answered(member, "count", "room", expected=2, timeout=left)
            assert {(outcome["error"], outcome["answer"]) for outcome in early} <= {("IncompleteAnswer", 2)}
            # Also where others have not evicted it yet, and still name it.
            await stays(lambda member=member: member.call("count", "room"), {"result": 2}, timeout=1)

        async def strangers() -> list[str]:
            """Return the groups with a member more than there are living processes."""
            groups = cluster.left_in_broker("etp.room") + cluster.left_in_broker("etp.control")
            return cluster.left_in_broker(dead_hub) + [group for group in groups if group.count("b'etp.") > 2]

        await eventually(strangers, lambda left: left == [], timeout=EVICTED_WITHIN)


@ONE_LAYER
async def test_queries_do_not_wait_for_a_server_that_was_killed_until_it_is_evicted(layer):
    async with start_cluster(layer) as cluster:
        living, victim = await cluster.start("uvicorn", "uvicorn")
        one, dying = await cluster.connect(living, "room"), await cluster.connect(victim, "room")
        id = await dying.ask("id")
        await until_answered(one, "count", "room", expected=2, timeout=HEALED_WITHIN)
        victim.kill()
        killed_at = time.monotonic()
        waits: dict[str, list[float]] = {"count": [], "get": []}
        while (left := killed_at + EVICTED_WITHIN - time.monotonic()) > 0:
            for name, argument in (("count", "room"), ("get", id)):
                asked_at = time.monotonic()
                outcome = await one.call(name, argument)
                if "result" not in outcome:
                    assert outcome["error"] == "IncompleteAnswer"
                    waits[name].append(time.monotonic() - asked_at)
            if "result" in outcome:
                break
        assert left > 0, "it is not evicted"
        assert await one.call("count", "room") == {"result": 1}
        assert max(waits["count"]) < QUESTION_TIMEOUT + SLACK
        # Once its heartbeat is late, some 3 s after the last one.
        assert min(waits["count"]) < QUESTION_TIMEOUT * 0.75
        assert min(waits["get"]) < QUESTION_TIMEOUT * 0.75


@ONE_LAYER
async def test_server_paused_until_its_heartbeat_is_late(layer):
    """Its members are missing from no result that seems complete, while it is paused and once it is back."""
    async with start_cluster(layer) as cluster:
        living, sleeping = await cluster.start("uvicorn", "uvicorn")
        one, other = await cluster.connect(living, "room"), await cluster.connect(sleeping, "room")
        await all_hear_each_other("room", one, other)
        await until_answered(one, "count", "room", expected=2, timeout=HEALED_WITHIN)
        sleeping.pause()
        early, waited = [], QUESTION_TIMEOUT
        while waited > QUESTION_TIMEOUT * 0.75:  # then its heartbeat is late
            asked_at = time.monotonic()
            early.append(await one.call("count", "room"))
            waited = time.monotonic() - asked_at
        sleeping.resume()
        assert {(outcome["error"], outcome["answer"]) for outcome in early} == {("IncompleteAnswer", 1)}
        late = await until_answered(one, "count", "room", expected=2, timeout=HEALED_WITHIN)
        assert results(late) == []
        await stays(lambda: one.call("count", "room"), {"result": 2}, timeout=3)
        assert not [server for server in (living, sleeping) if "is evicted" in server.log]


@ONE_LAYER
async def test_server_paused_for_15_s(layer):
    async with start_cluster(layer) as cluster:
        daphne, uvicorn = await cluster.start("daphne", "uvicorn")
        one, sleeping = await cluster.connect(daphne, "room"), await cluster.connect(uvicorn, "room")
        await all_hear_each_other("room", one, sleeping)
        uvicorn.pause()
        wakes_at = time.monotonic() + 15
        early = await until_answered(one, "count", "room", expected=1, timeout=15)
        assert {(outcome["error"], outcome["answer"]) for outcome in early} == {("IncompleteAnswer", 1)}
        await asyncio.sleep(max(0.0, wakes_at - time.monotonic()))
        uvicorn.resume()
        assert results(await until_answered(sleeping, "count", "room", expected=2, timeout=HEALED_WITHIN)) == []
        await until_answered(one, "count", "room", expected=2, timeout=HEALED_WITHIN)
        await all_hear_each_other("room", one, sleeping)
        # What others still did for the dead must not undo what it did on its return.
        await stays(lambda: sleeping.call("count", "room"), {"result": 2}, timeout=3)
        await all_hear_each_other("room", one, sleeping)
        assert "is evicted" in daphne.log
        assert "is evicted" not in uvicorn.log


@EACH_LAYER
@EACH_SERVER
async def test_server_stopped(layer, kind):
    async with start_cluster(layer) as cluster:
        living, ending = await cluster.start("uvicorn", kind)
        one = await cluster.connect(living, "room", "farewells")
        last = [await cluster.connect(ending, "room", "farewells") for _ in range(3)]
        ids, hub = [await member.ask("id") for member in last], await hub_of(last[0])
        await until_answered(one, "count", "room", expected=4, timeout=HEALED_WITHIN)
        await asyncio.to_thread(ending.stop)
        await stays(lambda: one.call("count", "room"), {"result": 1}, timeout=1)
        for id in ids:
            await one.expect(f"farewell-{id}")
        assert cluster.left_in_broker(hub) == []
        assert not [left for left in cluster.left_in_broker("etp.") if left.count("b'etp.") > 1]
        assert ending.complaints == []


@pytest.mark.parametrize("kind", ["daphne", "uvicorn"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
async def test_server_stopped_that_has_no_connection_any_more(kind, number):
    async with start_cluster("redis", expiry=5) as cluster:
        living, ending = await cluster.start("uvicorn", kind)
        one, last = await cluster.connect(living, "room"), await cluster.connect(ending, "room")
        hub = await hub_of(last)
        await until_answered(one, "count", "room", expected=2, timeout=HEALED_WITHIN)
        await last.close()
        await until_answered(one, "count", "room", expected=1, timeout=HEALED_WITHIN)
        ending.process.send_signal(number)
        await asyncio.to_thread(ending.wait)
        await stays(lambda: one.call("count", "room"), {"result": 1}, timeout=1)

        async def probe() -> list[str]:
            crowded = [left for left in cluster.left_in_broker("etp.control") if left.count("b'etp.") > 1]
            return cluster.left_in_broker(hub) + crowded

        # Some end without a word when nobody is connected; the others clean up after them.
        await eventually(probe, lambda left: left == [], timeout=EVICTED_WITHIN)
        assert ending.complaints == []


@ONE_LAYER
async def test_hub_that_took_its_server_to_end_comes_back_with_the_next_connection(layer):
    async with start_cluster(layer) as cluster:
        daphne, uvicorn = await cluster.start("daphne", "uvicorn")
        one = await cluster.connect(daphne, "room")
        for code in (1012, 1000):
            other = await cluster.connect(uvicorn, "room")
            await all_hear_each_other("room", one, other)
            assert await other.call("count", "room") == {"result": 2}
            await other.close(code)
            await until_answered(one, "count", "room", expected=1, timeout=HEALED_WITHIN)
        other = await cluster.connect(uvicorn, "room")
        await all_hear_each_other("room", one, other)
        assert await one.call("count", "room") == {"result": 2}
        assert await one.ask("lost") == "[]"


@EACH_LAYER
async def test_process_that_forks_goes_on_sending_in_both(layer):
    async with start_cluster(layer) as cluster:
        (server,) = await cluster.start("uvicorn")
        member = await cluster.connect(server, "room")
        script = cluster.start_script()
        numbers = range(20)

        async def send(name: str) -> None:
            for number in numbers:
                assert await script.call("emit", "room", f"{name}-{number}") == {"result": None}

        await send("before")
        for child in ("child", "second-child"):
            await script.fork(*(["emit", ["room", f"{child}-{number}"]] for number in numbers), ["count", ["room"]])
        await send("beside")
        assert await script.wait_for_children() == {"result": [0, 0]}
        await send("after")
        for name in ("before", "child", "second-child", "beside", "after"):
            await member.expect(f"{name}-19")
            heard = [event for event in member.events if re.fullmatch(rf"{name}-\d+", event)]
            assert heard == [f"{name}-{number}" for number in numbers]
        assert await script.call("count", "room") == {"result": 1}
        assert script.end() == (0, "")
        await stays(lambda: member.ask("lost"), "[]", timeout=3)
