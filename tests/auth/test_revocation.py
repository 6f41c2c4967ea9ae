"""Users, logouts, and what processes leave behind: real servers, logins and cookies, two processes over Valkey."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from websockets.exceptions import InvalidStatus

from django_etp.auth.revocation import CheckUser, CloseSession, ReplaceSession, is_revoked
from django_etp.hub.process import serving_hub
from django_etp.hub.queries import answer, read_query
from django_etp.sessions.loaded import session_hash
from tests.support.inprocess import Wire
from tests.support.peers import eventually, expect_close, expect_nothing
from tests.support.servers import Server, start_process, start_server
from tests.support.stored import store_class
from tests.support.valkey import LAYERS, Valkey, start_valkey
from tests.support.visitors import Socket, Visitor, copy_sqlite, make_sqlite, run_django, settings_for

# What a logout may take until the sockets are closed, in seconds.
SOON = 2.0
# Three heartbeats, after which a process should know all others, and somewhat more, in seconds.
NOBODY_IS_NEW_AFTER = 8.0


class Site:
    """Servers of one site: they share a database and a channel layer."""

    def __init__(self, servers: list[Server], settings: dict[str, Any]) -> None:
        self.servers = servers
        self.settings = settings

    async def user(self, username: str = "") -> tuple[str, int]:
        """Sign somebody up; return the name and the primary key."""
        username = username or f"user-{uuid4().hex[:12]}"
        return username, await Visitor(self.servers[0]).post("sign_up", username=username)

    async def visitor(self, username: str, server: int = 0) -> Visitor:
        """Return a browser of its own where a user has logged in."""
        visitor = Visitor(self.servers[server])
        await visitor.log_in(username)
        return visitor


def at(visitor: Visitor, server: Server) -> Visitor:
    """Return the same browser at another server of the site."""
    other = Visitor(server)
    other.cookies = visitor.cookies
    return other


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("visits") / "made.sqlite3"
    make_sqlite(path)
    return path


@pytest.fixture(scope="module")
def valkey() -> Iterator[Valkey]:
    with start_valkey() as valkey:
        yield valkey


@pytest.fixture(scope="module")
def site(database: Path, valkey: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A daphne and a uvicorn, which check for what they missed each hour only."""
    path = tmp_path_factory.mktemp("site") / "db.sqlite3"
    layers = valkey.layers("pubsub", prefix="site")
    settings = settings_for(
        copy_sqlite(database, path), CHANNEL_LAYERS=layers, ETP={"SESSION_CHECK_INTERVAL": 3600, "QUESTION_TIMEOUT": 10}
    )
    with ExitStack() as stack:
        servers = [stack.enter_context(start_server(kind, settings=settings)) for kind in ("daphne", "uvicorn")]
        yield Site(servers, settings)
        for server in servers:
            server.stop()
            assert server.complaints == []


@pytest.fixture
async def own_site(database: Path, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    """A server of the test's own, with the settings of its parameter."""
    settings = settings_for(copy_sqlite(database, tmp_path / "db.sqlite3"), ETP=request.param)
    with start_server("uvicorn", settings=settings) as server:
        yield Site([server], settings)


async def closes_soon(*sockets: Socket) -> None:
    codes = await asyncio.gather(*(socket.closed(timeout=SOON) for socket in sockets))
    assert codes == [4401] * len(sockets)


async def lives(*sockets: Socket) -> None:
    for socket in sockets:
        assert await socket.ask("get") is not None


# A logout


async def test_a_logout_closes_the_sockets_of_that_session_in_all_processes(site: Site) -> None:
    name, _ = await site.user()
    here, device = await site.visitor(name), await site.visitor(name, 1)
    there = at(here, site.servers[1])
    async with here.socket() as one, there.socket() as two, device.socket() as other:
        for socket in (one, two, other):
            assert await socket.ask("whoami") == name
        await here.post("log_out")
        await closes_soon(one, two)
        await lives(other)


async def test_a_logout_in_a_process_without_sockets_closes_them_elsewhere(site: Site) -> None:
    here = await site.visitor((await site.user())[0])
    there = at(here, site.servers[1])
    with start_process("wsgi", ["tests.site.wsgi"], settings=site.settings) as wsgi:
        async with here.socket() as one, there.socket() as two:
            await at(here, wsgi).post("log_out")
            await closes_soon(one, two)
        assert "could be notified" not in wsgi.log


async def test_a_logout_works_while_the_broker_is_away(database: Path, tmp_path: Path) -> None:
    with start_valkey() as valkey:
        layers = valkey.layers("pubsub")
        settings = settings_for(copy_sqlite(database, tmp_path / "db.sqlite3"), CHANNEL_LAYERS=layers)
        with start_server("uvicorn", settings=settings) as server:
            site = Site([server], settings)
            visitor = await site.visitor((await site.user())[0])
            async with visitor.socket() as socket:
                await lives(socket)
                valkey.kill()
                await visitor.post("log_out")
                await closes_soon(socket)


async def test_a_logout_and_a_changed_user_wait_for_no_broker_that_is_frozen(database: Path, tmp_path: Path) -> None:
    with start_valkey() as valkey:
        settings = settings_for(
            copy_sqlite(database, tmp_path / "db.sqlite3"), CHANNEL_LAYERS=valkey.layers("pubsub"), ETP={}
        )
        with start_server("uvicorn", settings=settings) as server:
            site = Site([server], settings)
            (name, _), (other, _) = await site.user(), await site.user()
            visitor, changed = await site.visitor(name), await site.visitor(other)
            async with visitor.socket() as one, changed.socket() as two:
                await lives(one, two)
                valkey.pause()
                began = time.monotonic()
                for _ in range(5):
                    await visitor.post("change_user", username=other, how="deactivate")
                await visitor.post("log_out")
                assert time.monotonic() - began < 1.5  # each took 2 s where it waited
                await closes_soon(one)
                assert await two.closed() == 4401
            await eventually(lambda: asyncio.to_thread(lambda: server.log), lambda log: "could be notified" in log)
            valkey.resume()


async def test_no_session_key_reaches_the_broker(site: Site, valkey: Valkey) -> None:
    name, user_id = await site.user()
    here = await site.visitor(name)
    there = at(here, site.servers[1])
    keys = [here.cookies["sessionid"]]
    with valkey.monitored() as traffic:
        async with here.socket("?name=Ann") as one, there.socket() as two:
            await there.post("update_data", id=await one.ask("id"), values={"seat": 1})
            await here.post("notify", user_id=user_id, text="hello")
            for socket in (one, two):
                assert await socket.peer.recv() == "notification||0||hello"
            await here.post("change_password", password="new")
            assert await one.closed() == await two.closed() == 4401
        keys.append(here.cookies["sessionid"])
        async with here.socket() as one, there.socket() as two:
            await lives(one, two)
            await here.post("log_out")
            await closes_soon(one, two)
        said = await asyncio.to_thread(traffic)
    for travels in ("change_data", "notification", "check_user", "close_session"):
        assert travels in said
    assert [key for key in keys if key in said] == []


async def test_sockets_of_other_users_stay(site: Site) -> None:
    one, two = await site.visitor((await site.user())[0]), await site.visitor((await site.user())[0], 1)
    async with two.socket() as socket:
        await one.post("log_out")
        await lives(socket)


async def test_a_client_that_comes_back_before_the_session_is_gone_is_refused(site: Site) -> None:
    name, _ = await site.user()
    visitor = await site.visitor(name)
    there = at(visitor, site.servers[1])
    there.cookies = dict(visitor.cookies)
    async with visitor.socket() as one, there.socket() as two:
        logging_out = asyncio.create_task(visitor.post("log_out", linger=2))
        await closes_soon(one, two)
    for client in (visitor, there):
        with pytest.raises(InvalidStatus, match="403"):
            async with client.socket():
                pass
    assert not logging_out.done()
    await logging_out


async def test_a_logout_reaches_a_socket_in_mid_handshake(site: Site) -> None:
    name, _ = await site.user()
    visitor = await site.visitor(name)
    slow = at(visitor, site.servers[1])
    slow.cookies = dict(visitor.cookies)

    async def open_slowly() -> int:
        try:
            async with slow.socket("?wait=2") as socket:
                return await socket.closed()
        except InvalidStatus as refusal:
            return refusal.response.status_code

    handshake = asyncio.create_task(open_slowly())
    await eventually(lambda: slow.post("in_handshake", username=name), lambda count: count == 1, interval=0.02)
    await visitor.post("log_out")
    assert await handshake == 403


async def test_a_session_is_not_brought_back_by_sockets_that_write_while_it_logs_out(site: Site) -> None:
    name, _ = await site.user()
    visitor = await site.visitor(name)
    key = visitor.cookies["sessionid"]
    there = at(visitor, site.servers[1])
    async with visitor.socket() as one, there.socket() as two:
        for socket in (one, two):
            for number in range(200):
                await socket.tell("put", {"number": number})
        await visitor.post("log_out")
        await closes_soon(one, two)
    assert await Visitor(site.servers[0]).post("stored", key=key) is None


# A changed user


async def test_a_password_change_closes_the_users_sockets_and_the_one_who_changed_it_comes_back(site: Site) -> None:
    name, _ = await site.user()
    here, device = await site.visitor(name), await site.visitor(name, 1)
    old_key = here.cookies["sessionid"]
    async with here.socket("?name=Ann") as one, device.socket() as two:
        await here.post("change_password", password="new")
        assert await one.closed() == await two.closed() == 4401
    assert here.cookies["sessionid"] != old_key
    async with here.socket() as one, device.socket() as two:
        assert await one.ask("whoami") == name
        assert await two.ask("whoami") == ""
        # What the old socket had written came along to the new key, and goes with it.
        await eventually(lambda: here.post("session"), lambda session: "etp" not in session)


@pytest.mark.parametrize("how", ["deactivate", "delete"])
async def test_a_user_who_is_gone_has_no_sockets(site: Site, how: str) -> None:
    name, _ = await site.user()
    one, two = await site.visitor(name), await site.visitor(name, 1)
    stays = await site.visitor((await site.user())[0], 1)
    async with one.socket() as first, two.socket() as second, stays.socket() as third:
        await stays.post("change_user", username=name, how=how)
        assert await first.closed() == await second.closed() == 4401
        await lives(third)


@pytest.mark.parametrize("own_site", [{"SESSION_CHECK_INTERVAL": 1}], indirect=True)
@pytest.mark.parametrize("how", ["deactivate in bulk", "delete in bulk", "change password in bulk", "flush"])
async def test_what_sends_no_signal_is_found_by_the_check(own_site: Site, how: str) -> None:
    name, _ = await own_site.user()
    visitor, stays = await own_site.visitor(name), await own_site.visitor((await own_site.user())[0])
    async with visitor.socket() as socket, stays.socket() as other:
        await stays.post("change_user", username=name, how=how)
        assert await socket.closed() == 4401
        await lives(other)


@pytest.mark.parametrize("own_site", [{"SESSION_CHECK_INTERVAL": 1}], indirect=True)
@pytest.mark.parametrize(
    ("view", "how", "reason"),
    [
        ("log_out", None, "logged out"),
        ("change_password", None, "the password changed"),
        ("change_user", "change password in bulk", "the password changed"),
        ("change_user", "deactivate", "the user was deleted or deactivated"),
        ("change_user", "delete", "the user was deleted or deactivated"),
        ("change_user", "deactivate in bulk", "the user was deleted or deactivated"),
        ("change_user", "flush", "the session ended"),
    ],
)
async def test_the_reason_of_a_close_says_what_ended_the_login(
    own_site: Site, view: str, how: str | None, reason: str
) -> None:
    name, _ = await own_site.user()
    visitor = await own_site.visitor(name)
    async with visitor.socket() as socket:
        body = {"username": name, "how": how} if how else {"password": "new"} if view == "change_password" else {}
        await visitor.post(view, **body)
        assert await expect_close(socket.peer) == (4401, reason)


@pytest.mark.parametrize("own_site", [{"SESSION_CHECK_INTERVAL": 0.2, "CLOSE_ON_LOGOUT": False}], indirect=True)
async def test_sockets_outlive_their_session_and_not_their_user_where_the_settings_say_so(own_site: Site) -> None:
    name, _ = await own_site.user()
    visitor, other = await own_site.visitor(name), await own_site.visitor((await own_site.user())[0])
    async with visitor.socket() as socket, other.socket() as stays:
        await visitor.post("log_out")
        await expect_nothing(socket.peer, timeout=1)
        await socket.ask("put", {"name": "Ann"})
        await other.post("change_user", username=name, how="deactivate in bulk")
        assert await socket.closed() == 4401
        await lives(stays)


# A login


async def test_an_anonymous_socket_goes_on_in_memory_when_its_visitor_logs_in(site: Site) -> None:
    name, _ = await site.user()
    visitor = Visitor(site.servers[0])
    await visitor.post("start")
    old_key = visitor.cookies["sessionid"]
    async with visitor.socket() as socket:
        await socket.ask("put", {"seat": 1})
        assert list((await visitor.post("session"))["etp"].values()) == [{"seat": 1}]
        await visitor.log_in(name)
        assert visitor.cookies["sessionid"] != old_key
        assert await socket.ask("put", {"row": 2}) == ""
        assert await socket.ask("get") == {"seat": 1, "row": 2}
        assert "etp" not in await visitor.post("session")
        assert await visitor.post("stored", key=old_key) is None


async def test_a_login_over_another_login_closes_the_sockets_of_the_old_user_in_all_processes(site: Site) -> None:
    name, other = (await site.user())[0], (await site.user())[0]
    visitor = await site.visitor(name)
    async with visitor.socket() as socket, at(visitor, site.servers[1]).socket() as there:
        await lives(socket, there)
        await visitor.log_in(other)
        await closes_soon(socket, there)
    async with visitor.socket() as socket:
        assert await socket.ask("whoami") == other


# Where the data is


@pytest.mark.parametrize("server", [0, 1], ids=["daphne", "uvicorn"])
async def test_views_see_the_data_and_it_goes_with_the_socket(site: Site, server: int) -> None:
    visitor = await site.visitor((await site.user())[0], server)
    async with visitor.socket("?name=Ann") as socket:
        id = await socket.ask("id")
        assert (await visitor.post("session"))["etp"] == {id: {"name": "Ann"}}
        await socket.ask("put", {"seat": 1})
        assert (await visitor.post("session"))["etp"] == {id: {"name": "Ann", "seat": 1}}
    await eventually(lambda: visitor.post("session"), lambda session: "etp" not in session)


async def test_views_of_another_process_read_and_change_the_data(site: Site) -> None:
    visitor = await site.visitor((await site.user())[0])
    there = at(visitor, site.servers[1])
    async with visitor.socket("?name=Ann") as socket:
        id = await socket.ask("id")
        assert await there.post("data", id=id) == {"name": "Ann"}
        assert await there.post("update_data", id=id, values={"seat": 1}, remove=["name"]) == {"seat": 1}
        assert await socket.ask("get") == {"seat": 1}
        assert (await visitor.post("session"))["etp"] == {id: {"seat": 1}}
    answer = await eventually(lambda: there.post("data", id=id), lambda answer: answer == "ConnectionClosed")
    assert answer == await there.post("update_data", id=id, values={}) == "ConnectionClosed"


async def test_a_plain_script_reads_and_changes_the_data(site: Site) -> None:
    visitor = await site.visitor((await site.user())[0])
    async with visitor.socket("?name=Ann") as socket:
        id = await socket.ask("id")
        said = await asyncio.to_thread(run_django, site.settings, "-m", "tests.site.change_data", id, "seat", "1")
        assert said.strip() == '{"name": "Ann", "seat": "1"}'
        assert await socket.ask("get") == {"name": "Ann", "seat": "1"}


async def test_a_visitor_without_a_session_gets_one_with_the_accept_under_uvicorn(site: Site) -> None:
    visitor = Visitor(site.servers[1])
    async with visitor.socket("?name=Ann") as socket:
        assert "sessionid" in visitor.cookies
        assert list((await visitor.post("session"))["etp"].values()) == [{"name": "Ann"}]
        assert await socket.ask("get") == {"name": "Ann"}


async def test_a_visitor_without_a_session_has_data_in_memory_under_daphne(site: Site) -> None:
    visitor = Visitor(site.servers[0])
    async with visitor.socket("?name=Ann") as socket:
        assert visitor.cookies == {}
        await socket.ask("put", {"seat": 1})
        assert await socket.ask("get") == {"name": "Ann", "seat": 1}


async def test_an_old_copy_that_a_request_saved_is_mended_by_the_next_write(site: Site) -> None:
    visitor = await site.visitor((await site.user())[0], 1)
    async with visitor.socket("?name=Ann") as socket:
        id = await socket.ask("id")
        request = asyncio.create_task(visitor.post("slow", seconds=1))
        await eventually(lambda: Visitor(site.servers[1]).post("slow_began"), bool, interval=0.02)
        await socket.ask("put", {"seat": 1})
        await request
        assert (await visitor.post("session"))["etp"] == {id: {"name": "Ann"}}
        await socket.ask("put", {"row": 2})
        session = await visitor.post("session")
        assert session["etp"] == {id: {"name": "Ann", "seat": 1, "row": 2}}
        assert session["slow"]


# What a killed process left behind


async def test_data_of_a_killed_process_goes_when_another_socket_of_the_session_comes(
    database: Path, valkey: Valkey, tmp_path: Path
) -> None:
    layers = valkey.layers("pubsub", prefix="killed")
    settings = settings_for(copy_sqlite(database, tmp_path / "db.sqlite3"), CHANNEL_LAYERS=layers)
    with start_server("uvicorn", settings=settings) as killed, start_server("uvicorn", settings=settings) as living:
        site = Site([killed, living], settings)
        name, _ = await site.user()
        visitor = await site.visitor(name)
        there = at(visitor, living)
        forgotten = await site.visitor(name)
        async with visitor.socket("?name=Ann"), forgotten.socket("?name=Bob"), there.socket("?name=Cid") as socket:
            assert len((await there.post("session"))["etp"]) == 2
            killed.kill()

            # Three heartbeats later it expires.
            async def come_again() -> int:
                async with there.socket() as again:
                    await again.ask("get")
                return len((await there.post("session"))["etp"])

            await eventually(come_again, lambda shares: shares == 1, interval=0.5)
            assert list((await there.post("session"))["etp"].values()) == [{"name": "Cid"}]

            # Of a session whose sockets are all gone the command removes it, and leaves what lives.
            said = await asyncio.to_thread(run_django, settings, "etp_clear_data")
            assert said == "Removed the data of 1 connections that are gone.\n"
            assert "etp" not in await at(forgotten, living).post("session")
            assert (await there.post("session"))["etp"] == {await socket.ask("id"): {"name": "Cid"}}


async def test_the_command_leaves_what_lives_in_a_server_that_is_busy_as_it_asks(
    database: Path, valkey: Valkey, tmp_path: Path
) -> None:
    layers = valkey.layers("pubsub", prefix="busy")
    settings = settings_for(copy_sqlite(database, tmp_path / "db.sqlite3"), CHANNEL_LAYERS=layers)
    with start_server("uvicorn", settings=settings) as server:
        site = Site([server], settings)
        visitor = await site.visitor((await site.user())[0])
        async with visitor.socket("?name=Ann") as socket:
            id = await socket.ask("id")
            with valkey.monitored() as traffic:
                server.pause()
                command = asyncio.create_task(asyncio.to_thread(run_django, settings, "etp_clear_data"))
                await eventually(lambda: asyncio.to_thread(traffic), lambda said: "etp.question" in said, interval=0.02)
            # Who hears of nobody is content after half a second.
            await asyncio.wait([command], timeout=2)
            server.resume()
            assert await command == "Removed the data of 0 connections that are gone.\n"
            assert (await visitor.post("session"))["etp"] == {id: {"name": "Ann"}}


async def test_data_of_another_process_stays_while_nobody_can_be_heard_of(database: Path, tmp_path: Path) -> None:
    layers = {"default": {"BACKEND": LAYERS["pubsub"], "CONFIG": {"hosts": ["redis://127.0.0.1:1"]}}}
    settings = settings_for(copy_sqlite(database, tmp_path / "db.sqlite3"), CHANNEL_LAYERS=layers)
    with start_server("uvicorn", settings=settings) as one, start_server("uvicorn", settings=settings) as other:
        here = await Site([one], settings).visitor((await Site([one], settings).user())[0])
        async with here.socket("?name=Ann") as first, at(here, other).socket("?name=Bob") as second:
            ids = {await first.ask("id"), await second.ask("id")}
            deadline = asyncio.get_running_loop().time() + NOBODY_IS_NEW_AFTER
            while asyncio.get_running_loop().time() < deadline:
                await second.ask("count")
                assert set((await here.post("session"))["etp"]) == ids
                await asyncio.sleep(0.2)


# All devices of a user


async def test_a_send_to_a_user_reaches_all_devices_in_all_processes(site: Site) -> None:
    name, user_id = await site.user()
    one, two = await site.visitor(name), await site.visitor(name, 1)
    other = await site.visitor((await site.user())[0])
    async with one.socket() as first, two.socket() as second, other.socket() as third:
        for socket in (first, second, third):
            await socket.ask("id")
        await other.post("notify", user_id=user_id, text="hello")
        for socket in (first, second):
            async with asyncio.timeout(10):
                assert await socket.peer.recv() == "notification||0||hello"
        await expect_nothing(third.peer)


async def test_nobody_joins_a_users_room_by_its_name(site: Site) -> None:
    _, user_id = await site.user()
    visitor = await site.visitor((await site.user())[0])
    async with visitor.socket() as socket:
        assert await socket.ask("join", f"__user.{user_id}") == "InvalidRoomName"
        await visitor.post("notify", user_id=user_id, text="secret")
        await expect_nothing(socket.peer)


# Between processes, as releases before query classes did it


def test_the_queries_travel_as_in_old_processes() -> None:
    for query, plain in [
        (CloseSession("", "7", "hash"), ["", "7", "hash"]),
        (ReplaceSession("", "7", "hash"), ["", "7", "hash"]),
        (CheckUser("", "7"), ["", "7"]),
    ]:
        assert read_query(query.action, plain) == query
        assert query.to_plain() == plain
    assert (CloseSession.action, CheckUser.action) == ("close_session", "check_user")


@pytest.mark.usefixtures("etp_registry")
async def test_an_old_process_that_reports_a_logout_has_handshakes_of_that_session_refused() -> None:
    store = store_class()
    scopes = {key: {"session": store(key)} for key in ("a" * 32, "b" * 32)}
    async with Wire():
        hub = serving_hub()
        assert not any(is_revoked(hub, scope) for scope in scopes.values())
        assert await answer(hub, "close_session", ["", "7", session_hash("a" * 32)]) is None
        assert await answer(hub, "check_user", ["", "7"]) is None
        assert [is_revoked(hub, scope) for scope in scopes.values()] == [True, False]
        assert not is_revoked(hub, {})
