"""The testing kit's client, as a project's tests use it."""

import asyncio
import threading
from contextlib import aclosing
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.backends.db import SessionStore
from django.db import connections
from django.test import Client, TestCase, TransactionTestCase

from django_etp import (
    AckTimeout,
    Connection,
    ConnectionClosed,
    Event,
    EventFailed,
    InvalidEventName,
    etp_event,
    on_connect,
    rooms,
)
from django_etp.events.registry import Registry, registry
from django_etp.exceptions import EtpError, RejectConnection
from django_etp.testing import EtpCommunicator, HandshakeRejected
from tests.support.inprocess import until
from tests.support.stored import acontent_of, amake_session, cookie


@pytest.fixture(autouse=True)
def _handlers(etp_registry: Registry) -> None:
    @etp_event("echo")
    async def echo(connection: Connection, event: Event) -> str:
        return event.data

    @etp_event("who")
    async def who(connection: Connection, event: Event) -> str:
        return connection.user.get_username() or "anonymous"

    @etp_event("ask")
    async def ask(connection: Connection, event: Event) -> str:
        return (await connection.aemit_with_ack("question", event.data, timeout=2)).data

    @etp_event("send")
    async def send(connection: Connection, event: Event) -> None:
        for name in event.data.split():
            await connection.aemit(name)

    @etp_event("close")
    async def close(connection: Connection, event: Event) -> None:
        await connection.aclose(4001, "bye")

    @etp_event("fail")
    async def fail(connection: Connection, event: Event) -> None:
        raise EventFailed("rate_limited", "Not so fast.")

    @etp_event("create")
    def create(connection: Connection, event: Event) -> int:
        User.objects.create(username=event.data)
        return User.objects.count()

    @etp_event("acreate")
    async def acreate(connection: Connection, event: Event) -> int:
        await User.objects.acreate(username=event.data)
        return await User.objects.acount()

    @etp_event("scope")
    async def scope(connection: Connection, event: Event) -> str:
        value = connection.scope
        for key in event.data.split("."):
            value = value[key]
        return repr(value)


async def ask_scope(client: EtpCommunicator, key: str) -> str:
    return (await client.emit_with_ack("scope", key)).data


# Connecting


async def test_it_connects_and_disconnects_as_a_context_manager() -> None:
    async with EtpCommunicator() as client:
        assert (await client.emit_with_ack("echo", "hello")).data == "hello"


async def test_it_connects_and_disconnects_by_hand() -> None:
    client = EtpCommunicator()
    await client.connect()
    assert (await client.emit_with_ack("echo", "hello")).data == "hello"
    await client.disconnect()


async def test_disconnecting_waits_until_the_application_has_cleaned_up() -> None:
    cleaned_up = []

    @registry.on_disconnect
    async def gone(connection: Connection, disconnect: Any) -> None:
        await asyncio.sleep(0.05)
        cleaned_up.append((disconnect.code, disconnect.reason))

    client = EtpCommunicator()
    await client.connect()
    await client.disconnect(4002, "enough")
    assert cleaned_up == [(4002, "enough")]


async def test_disconnecting_without_a_connection_does_nothing() -> None:
    await EtpCommunicator().disconnect()


async def test_one_communicator_is_one_connection() -> None:
    async with EtpCommunicator() as client:
        with pytest.raises(EtpError, match="make a new one"):
            await client.connect()


async def test_a_refused_handshake_has_a_status() -> None:
    @on_connect
    async def refuse(connection: Connection) -> None:
        raise RejectConnection

    with pytest.raises(HandshakeRejected) as raised:
        await EtpCommunicator().connect()
    assert raised.value.status == 403


async def test_a_failed_on_connect_has_another_status() -> None:
    @on_connect
    async def fail(connection: Connection) -> None:
        raise ZeroDivisionError

    with pytest.raises(HandshakeRejected, match="503") as raised:
        await EtpCommunicator().connect()
    assert raised.value.status == 503


async def test_an_application_that_waits_for_the_client_after_refusing_hears_of_its_end() -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.close"})
        assert (await receive())["type"] == "websocket.disconnect"

    with pytest.raises(HandshakeRejected):
        await EtpCommunicator(application).connect()


async def test_an_application_that_ends_without_a_word_is_an_error() -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None: ...

    with pytest.raises(EtpError, match="without accepting or refusing"):
        await EtpCommunicator(application).connect()


async def test_what_the_application_raises_in_the_handshake_is_raised() -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await EtpCommunicator(application).connect()


async def test_what_the_application_raises_later_is_raised_at_the_end() -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        raise ZeroDivisionError

    client = EtpCommunicator(application)
    await client.connect()
    with pytest.raises(ZeroDivisionError):
        await client.disconnect()


async def test_a_handshake_without_an_answer_times_out_and_leaves_nothing_behind() -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    before = asyncio.all_tasks()
    client = EtpCommunicator(application)
    with pytest.raises(TimeoutError, match="neither accepted nor refused"):
        await client.connect(timeout=0.01)
    assert asyncio.all_tasks() == before
    await client.disconnect()  # as in a finally


async def test_a_cancelled_handshake_leaves_nothing_behind() -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    before = asyncio.all_tasks()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await EtpCommunicator(application).connect()
    await until(lambda: asyncio.all_tasks() == before)


async def test_sending_before_the_accept_is_an_error_as_on_a_server() -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.send", "text": "early"})

    with pytest.raises(EtpError, match="before it accepted"):
        await EtpCommunicator(application).connect()


# Who connects, and with what


async def test_without_a_user_it_is_anonymous() -> None:
    async with EtpCommunicator() as client:
        assert (await client.emit_with_ack("who")).data == "anonymous"


async def test_it_connects_as_a_user_without_a_database() -> None:
    async with EtpCommunicator(user=User(username="alice")) as client:
        assert (await client.emit_with_ack("who")).data == "alice"


async def test_it_connects_as_an_anonymous_user() -> None:
    async with EtpCommunicator(user=AnonymousUser()) as client:
        assert (await client.emit_with_ack("who")).data == "anonymous"


async def test_a_user_connects_through_the_projects_own_application() -> None:
    from tests.asgi import application

    @etp_event("fill")
    async def fill(connection: Connection, event: Event) -> Any:
        connection.session["basket"] = ["apples"]
        return dict(connection.session)

    async with EtpCommunicator(application, user=User(username="alice")) as client:
        assert (await client.emit_with_ack("who")).data == "alice"
        assert (await client.emit_with_ack("fill")).json() == {"basket": ["apples"]}


@pytest.fixture
def browser(db: None) -> Client:
    """The browser of alice, who is logged in."""
    browser = Client()
    browser.force_login(User.objects.create(username="alice"))
    return browser


@pytest.mark.parametrize("own_application", [False, True])
async def test_the_cookie_of_a_login_tells_the_user(browser: Client, own_application: bool) -> None:
    from tests.asgi import application

    cookie = f"sessionid={browser.cookies['sessionid'].value}"
    async with EtpCommunicator(application if own_application else None, headers=[("Cookie", cookie)]) as client:
        assert (await client.emit_with_ack("who")).data == "alice"


@pytest.mark.parametrize("own_application", [False, True])
async def test_a_session_tells_the_user_that_is_logged_in_to_it(browser: Client, own_application: bool) -> None:
    from tests.asgi import application

    session = await sync_to_async(getattr)(browser, "session")
    async with EtpCommunicator(application if own_application else None, session=session) as client:
        assert (await client.emit_with_ack("who")).data == "alice"


async def test_a_session_is_the_connections_session(db: None) -> None:
    @etp_event("basket")
    async def basket(connection: Connection, event: Event) -> object:
        return connection.session["basket"]

    session = SessionStore()
    session["basket"] = ["apples"]
    async with EtpCommunicator(session=session, user=User(username="alice")) as client:
        assert (await client.emit_with_ack("basket")).json() == ["apples"]
        assert (await client.emit_with_ack("who")).data == "alice"


async def test_a_user_has_a_session_without_a_database() -> None:
    @etp_event("fill")
    async def fill(connection: Connection, event: Event) -> None:
        connection.session["basket"] = ["apples"]
        connection.data["basket"] = "full"

    async with EtpCommunicator(user=User(username="alice")) as client:
        await client.emit_with_ack("fill")
    assert client.scope["session"] == {"basket": ["apples"]}


async def test_headers_reach_the_application_in_lower_case() -> None:
    async with EtpCommunicator(headers=[("X-Color", "blue"), (b"x-bytes", b"\xff")]) as client:
        headers = await ask_scope(client, "headers")
    assert "(b'x-color', b'blue')" in headers
    assert "(b'x-bytes', b'\\xff')" in headers
    assert "(b'host', b'testserver')" in headers


async def test_a_host_header_replaces_the_one_it_sends() -> None:
    async with EtpCommunicator(headers=[("Host", "shop.test")]) as client:
        headers = await ask_scope(client, "headers")
    assert "testserver" not in headers


async def test_an_origin_is_checked() -> None:
    async with EtpCommunicator(origin="http://testserver"):
        pass
    with pytest.raises(HandshakeRejected):
        await EtpCommunicator(origin="http://evil.test").connect()


async def test_the_path_has_a_query_string() -> None:
    async with EtpCommunicator(path="/ws/room/?color=blue") as client:
        assert await ask_scope(client, "path") == "'/ws/room/'"
        assert await ask_scope(client, "query_string") == "b'color=blue'"


async def test_the_path_is_unquoted_as_servers_do() -> None:
    async with EtpCommunicator(path="/ws/B%C3%BCro%201/?a=%20") as client:
        assert await ask_scope(client, "path") == "'/ws/Büro 1/'"
        assert await ask_scope(client, "raw_path") == "b'/ws/B%C3%BCro%201/'"
        assert await ask_scope(client, "query_string") == "b'a=%20'"


async def test_further_keys_of_the_scope() -> None:
    async with EtpCommunicator(scope={"url_route": {"kwargs": {"room": "lobby"}}}) as client:
        assert await ask_scope(client, "url_route.kwargs") == "{'room': 'lobby'}"


async def test_subprotocols_are_offered() -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept", "subprotocol": scope["subprotocols"][1]})
        await receive()

    async with EtpCommunicator(application, subprotocols=["a", "b"]) as client:
        assert client.subprotocol == "b"


async def test_another_namespace() -> None:
    @etp_event("where", namespace="game")
    async def where(connection: Connection, event: Event) -> str:
        return connection.namespace

    async with EtpCommunicator(namespace="game") as client:
        assert (await client.emit_with_ack("where")).data == "game"


# Talking


async def test_an_event_that_the_application_sends_is_expected_by_name() -> None:
    async with EtpCommunicator() as client:
        await client.emit("send", "one two")
        assert (await client.expect_event("one")).name == "one"
        assert (await client.expect_event()).name == "two"


async def test_another_event_than_the_expected_one_fails() -> None:
    async with EtpCommunicator() as client:
        await client.emit("send", "one")
        with pytest.raises(AssertionError, match="'two'"):
            await client.expect_event("two")


async def test_an_expected_event_that_does_not_come_fails() -> None:
    async with EtpCommunicator() as client:
        with pytest.raises(AssertionError, match=r"within 0\.01 s"):
            await client.expect_event("one", timeout=0.01)


async def test_an_event_in_place_of_nothing_fails() -> None:
    async with EtpCommunicator() as client:
        await client.expect_nothing(timeout=0.01)
        await client.emit("send", "one")
        with pytest.raises(AssertionError, match="one"):
            await client.expect_nothing(timeout=2)


async def test_a_question_of_the_application_is_answered() -> None:
    async with EtpCommunicator() as client:
        asking = asyncio.create_task(client.emit_with_ack("ask", "how are you?"))
        question = await client.expect_event("question")
        assert (question.data, question.ack_required) == ("how are you?", True)
        await client.answer(question, "fine")
        assert (await asking).data == "fine"


async def test_events_that_come_before_an_answer_are_kept() -> None:
    async with EtpCommunicator() as client:
        await client.emit("send", "one")
        await client.emit_with_ack("echo")
        await client.expect_event("one")


async def test_an_answer_that_does_not_come_times_out() -> None:
    async with EtpCommunicator() as client:
        asking = asyncio.create_task(client.emit_with_ack("ask", timeout=0.01))
        with pytest.raises(AckTimeout):
            await asking
        await client.answer(await client.expect_event("question"))


async def test_waiting_for_an_answer_ends_with_the_connection() -> None:
    async with EtpCommunicator() as client:
        with pytest.raises(ConnectionClosed):
            await client.emit_with_ack("close")


async def test_an_answer_to_a_frame_sent_by_hand_is_a_frame() -> None:
    async with EtpCommunicator() as client:
        await client.send_frame("echo||7||by hand")
        assert await client.receive_frame() == "__ack_echo||7||by hand"


@pytest.mark.parametrize("subprotocol", ["etp.ext.v1", "etp.ext.v2"])
async def test_the_greeting_brings_the_id_and_is_no_event(subprotocol: str) -> None:
    async with EtpCommunicator(subprotocols=[subprotocol]) as client:
        await client.expect_nothing(timeout=0.01)
        assert client.id is not None
        await rooms.aemit_to(client.id, "first")
        assert (await client.expect_event()).name == "first"


@pytest.mark.parametrize("options", [{}, {"skip_others": True}])
async def test_the_greeting_can_be_expected_once(options: dict[str, bool]) -> None:
    async with EtpCommunicator(subprotocols=["etp.ext.v2"]) as client:
        await client.emit("send", "one")
        assert (await client.expect_event("__hello", **options)).json() == {"id": client.id}
        with pytest.raises(AssertionError, match="'__hello'"):
            await client.expect_event("__hello", timeout=0.05, **options)


async def test_the_greeting_is_the_first_frame() -> None:
    async with EtpCommunicator(subprotocols=["etp.ext.v2"]) as client:
        await client.emit("send", "one")
        assert [await client.receive_frame() for _ in range(2)] == [f'__hello||0||{{"id": "{client.id}"}}', "one||0"]


async def test_the_greeting_does_not_come_behind_an_event() -> None:
    async with EtpCommunicator(subprotocols=["etp.ext.v2"]) as client:
        await client.emit("send", "one two")
        await client.expect_event("one")
        assert await client.receive_frame() == "two||0"


async def test_without_the_extensions_there_is_no_id() -> None:
    async with EtpCommunicator() as client:
        assert client.id is None


async def test_an_application_need_not_greet() -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept", "subprotocol": "etp.ext.v2"})
        await send({"type": "websocket.send", "text": "first||0"})
        while (await receive())["type"] != "websocket.disconnect":
            pass

    async with EtpCommunicator(application, subprotocols=["etp.ext.v2"]) as client:
        assert (await client.expect_event()).name == "first"
        assert client.id is None


async def test_a_failure_is_raised_where_the_extensions_are_spoken() -> None:
    async with EtpCommunicator(subprotocols=["etp.ext.v1"]) as client:
        await client.expect_event("__hello")
        with pytest.raises(EventFailed) as failed:
            await client.emit_with_ack("fail")
        assert (failed.value.code, failed.value.message) == ("rate_limited", "Not so fast.")
        assert failed.value.is_from_peer
        await client.emit("send", "one")
        await client.expect_event("one")


async def test_a_failure_of_a_frame_sent_by_hand_is_a_frame() -> None:
    async with EtpCommunicator(subprotocols=["etp.ext.v1"]) as client:
        await client.expect_event("__hello")
        await client.send_frame("fail||7")
        assert await client.receive_frame() == '__err_fail||7||{"code":"rate_limited","message":"Not so fast."}'


async def test_without_the_extensions_a_failed_event_has_no_answer() -> None:
    async with EtpCommunicator() as client:
        with pytest.raises(AckTimeout):
            await client.emit_with_ack("fail", timeout=0.1)


async def test_without_the_extensions_a_failed_event_says_at_once_what_its_handler_raised() -> None:
    async with EtpCommunicator() as client, asyncio.timeout(2):
        with pytest.raises(AckTimeout, match=r"its handler raised EventFailed: .*Not so fast") as raised:
            await client.emit_with_ack("fail", timeout=60)
        assert isinstance(raised.value.__cause__, EventFailed)
        await client.emit("send", "one")
        await client.expect_event("one")


@pytest.mark.parametrize("subprotocols", [[], ["etp.ext.v1"]])
async def test_a_handler_that_ends_the_test_ends_it(subprotocols: list[str], etp_registry: Registry) -> None:
    @etp_event("end")
    async def end(connection: Connection, event: Event) -> None:
        pytest.fail("in the handler")

    client = EtpCommunicator(subprotocols=subprotocols)
    await client.connect()
    with pytest.raises(pytest.fail.Exception, match="in the handler"):
        await client.emit_with_ack("end")
    await client.emit("end")
    with pytest.raises(pytest.fail.Exception, match="in the handler"):
        await client.disconnect()


async def test_without_the_extensions_a_failure_is_an_event_like_any_other() -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        await receive()
        await receive()
        await send({"type": "websocket.send", "text": "__err_x||1||{}"})
        await send({"type": "websocket.send", "text": "__ack_x||1||yes"})
        await receive()

    async with EtpCommunicator(application) as client:
        assert (await client.emit_with_ack("x")).data == "yes"
        assert await client.receive_frame() == "__err_x||1||{}"


async def test_bytes_go_as_a_binary_message() -> None:
    async with EtpCommunicator() as client:
        await client.send_frame(b"echo||7||by hand")
        assert await client.receive_frame() == "__ack_echo||7||by hand"


async def test_a_frame_that_is_none_of_etp_can_be_received() -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "no frame"})
        await receive()

    async with EtpCommunicator(application) as client:
        assert await client.receive_frame() == "no frame"


async def test_names_that_an_application_must_not_send_are_refused_here_too() -> None:
    async with EtpCommunicator() as client:
        with pytest.raises(InvalidEventName):
            await client.emit("a||b")


# The close


async def test_a_close_of_the_application_is_expected() -> None:
    async with EtpCommunicator() as client:
        await client.emit("close")
        closed = await client.expect_close(4001)
        assert (closed.code, closed.reason) == (4001, "bye")
        assert await client.expect_close() == closed


async def test_a_close_with_another_code_fails() -> None:
    async with EtpCommunicator() as client:
        await client.emit("close")
        with pytest.raises(AssertionError, match="4001"):
            await client.expect_close(1000)


async def test_a_close_that_does_not_come_fails() -> None:
    async with EtpCommunicator() as client:
        with pytest.raises(AssertionError, match="a close"):
            await client.expect_close(timeout=0.01)


async def test_a_close_in_place_of_a_frame_fails() -> None:
    async with EtpCommunicator() as client:
        await client.emit("close")
        with pytest.raises(AssertionError, match="closed"):
            await client.receive_frame()


# The database


async def test_handlers_work_inside_the_tests_transaction(db: None) -> None:
    async with EtpCommunicator() as client:
        await User.objects.acreate(username="before")
        assert (await client.emit_with_ack("create", "plain")).data == "2"
        assert (await client.emit_with_ack("acreate", "async")).data == "3"


async def test_handlers_work_with_a_transactional_test(transactional_db: None) -> None:
    async with EtpCommunicator() as client:
        assert (await client.emit_with_ack("create", "plain")).data == "1"
        assert (await client.emit_with_ack("acreate", "async")).data == "2"
    assert await User.objects.acount() == 2


async def test_connections_may_end_in_any_order(db: None) -> None:
    first, second, third = EtpCommunicator(), EtpCommunicator(), EtpCommunicator()
    for client in (first, second, third):
        await client.connect()
    await first.disconnect()
    assert (await second.emit_with_ack("create", "second")).data == "1"
    await third.disconnect()
    assert (await second.emit_with_ack("create", "still second")).data == "2"
    await second.disconnect()


@pytest.fixture
def of_the_test(db: None) -> object:
    """The database connection of the test."""
    return connections["default"]


async def test_the_shared_thread_has_its_own_connection_back_after_the_last_one(of_the_test: object) -> None:
    of_this_thread = sync_to_async(lambda: connections["default"])
    own = await of_this_thread()
    async with EtpCommunicator():
        assert await of_this_thread() is of_the_test
        async with EtpCommunicator():
            assert await of_this_thread() is of_the_test
        assert await of_this_thread() is of_the_test
    assert await of_this_thread() is own is not of_the_test


# Where what is synchronous has one thread for all of it


def use_rooms(connection: Connection) -> list[Any]:
    """Do what a plain handler, or a view, does with a connection of its own process; some of it writes its session."""
    rooms.join(connection.id, "lobby")
    rooms.update_data(connection.id, {"seat": 1})
    User.objects.filter(username="alice").update(first_name="seen")
    rooms.emit("lobby", "news")
    [member] = rooms.members("lobby")
    [other] = rooms.connections()
    rooms.leave(connection.id, "lobby")
    return [member.id == other.id, rooms.count("lobby"), rooms.names(), rooms.data(connection.id)]


async def use_rooms_everywhere() -> None:
    """Let a plain hook, a plain handler and a view of the test use rooms; alice is there."""
    connections: list[Connection] = []

    @on_connect
    def begin(connection: Connection) -> None:
        connections.append(connection)
        connection.data["began"] = True
        connection.emit("welcome")

    @etp_event("use rooms")
    def use(connection: Connection, event: Event) -> list[Any]:
        return use_rooms(connection)

    user = await User.objects.aget(username="alice")
    key = await amake_session(user)
    expected = [True, 0, [], {"began": True, "seat": 1}]
    async with EtpCommunicator(headers=cookie(key)) as client:
        await client.expect_event("welcome")
        assert (await client.emit_with_ack("use rooms")).json() == expected
        assert await sync_to_async(use_rooms)(connections[0]) == expected
        await client.expect_event("news")
        await client.expect_event("news")
        content = await acontent_of(key)
        assert content is not None
        assert content["etp"] == {connections[0].id: {"began": True, "seat": 1}}
        assert (await User.objects.aget(username="alice")).first_name == "seen"


async def test_plain_code_may_use_rooms_inside_the_tests_transaction(db: None, etp_communicator: Any) -> None:
    await User.objects.acreate(username="alice")
    await use_rooms_everywhere()


async def test_plain_code_may_use_rooms_with_a_transactional_test(transactional_db: None) -> None:
    await User.objects.acreate(username="alice")
    await use_rooms_everywhere()


async def test_a_plain_handler_may_wait_for_a_write_that_waits_for_its_thread(db: None, etp_communicator: Any) -> None:
    inside, door = threading.Event(), threading.Event()

    @etp_event("slow")
    def slow(connection: Connection, event: Event) -> Any:
        inside.set()
        door.wait(5)
        return rooms.update_data(connection.id, {"slow": True})

    @etp_event("quick")
    async def quick(connection: Connection, event: Event) -> None:
        connection.data["quick"] = True
        asyncio.get_running_loop().call_later(0.05, door.set)  # once this is being written

    async with EtpCommunicator(headers=cookie(await amake_session())) as client:
        answer = asyncio.create_task(client.emit_with_ack("slow"))
        await until(inside.is_set)
        await client.emit_with_ack("quick")
        assert (await answer).json() == {"quick": True, "slow": True}


async def test_plain_handlers_that_wait_for_each_other_go_on() -> None:
    @etp_event("order")
    def order(connection: Connection, event: Event) -> str:
        return connection.emit_with_ack("agree?", timeout=2).data

    @etp_event("price")
    def price(connection: Connection, event: Event) -> int:
        return 7

    async with EtpCommunicator() as client:
        ordering = asyncio.create_task(client.emit_with_ack("order"))
        question = await client.expect_event("agree?")
        assert (await client.emit_with_ack("price", timeout=1)).json() == 7
        await client.answer(question, "yes")
        assert (await ordering).data == "yes"


def test_it_works_from_a_synchronous_test(db: None) -> None:
    async def scenario() -> str:
        async with EtpCommunicator(user=user) as client:
            await client.emit_with_ack("create", "plain")
            await client.emit_with_ack("acreate", "async")
            return (await client.emit_with_ack("who")).data

    user = User.objects.create(username="alice")
    assert async_to_sync(scenario)() == "alice"
    assert User.objects.count() == 3


class DjangoTests:
    """The same for Django's own test classes, which know no fixtures."""

    def setUp(self) -> None:
        self.user = User.objects.create(username="alice")

    async def test_async_test_method(self) -> None:
        async with EtpCommunicator(user=self.user) as client:
            assert (await client.emit_with_ack("who")).data == "alice"
            assert (await client.emit_with_ack("create", "plain")).data == "2"
            assert (await client.emit_with_ack("acreate", "async")).data == "3"
        assert await User.objects.acount() == 3

    async def test_two_clients(self) -> None:
        async with EtpCommunicator() as one, EtpCommunicator() as other:
            assert (await one.emit_with_ack("create", "one")).data == "2"
            assert (await other.emit_with_ack("create", "other")).data == "3"

    async def test_plain_code_may_use_rooms(self) -> None:
        await use_rooms_everywhere()

    def test_plain_code_may_use_rooms_in_a_plain_test_method(self) -> None:
        async_to_sync(use_rooms_everywhere)()

    def test_plain_test_method(self) -> None:
        async def scenario() -> None:
            async with EtpCommunicator(user=self.user) as client:
                assert (await client.emit_with_ack("create", "plain")).data == "2"

        async_to_sync(scenario)()
        assert User.objects.count() == 2


class UnderTestCase(DjangoTests, TestCase):
    pass


class UnderTransactionTestCase(DjangoTests, TransactionTestCase):
    pass


# Streamed answers


@pytest.fixture
def counting(etp_registry: Registry) -> list[str]:
    """The ends of streams; the event "count" streams numbers."""
    ends = []

    @etp_event("count")
    async def count(connection: Connection, event: Event) -> Any:
        number = 0
        try:
            for number in range(int(event.data)):
                yield number
            if event.data == "2":
                raise EventFailed("tired", "No more.")
        finally:
            ends.append(f"ended at {number}")

    return ends


async def read(client: EtpCommunicator, data: str) -> list[str]:
    return [part.data async for part in client.stream("count", data)]


async def test_a_stream_is_read_part_by_part(counting: list[str]) -> None:
    async with EtpCommunicator(subprotocols=["etp.ext.v2"]) as client:
        await client.expect_event("__hello")
        assert await read(client, "3") == ["0", "1", "2"]
        assert await read(client, "0") == []
        await client.expect_nothing()


async def test_a_plain_client_gets_one_part(counting: list[str]) -> None:
    async with EtpCommunicator() as client:
        assert await read(client, "3") == ["[0,1,2]"]
        with pytest.raises(AckTimeout, match="its handler raised EventFailed") as raised:
            await read(client, "2")
        assert isinstance(raised.value.__cause__, EventFailed)


async def test_a_stream_that_fails_raises_behind_its_parts(counting: list[str]) -> None:
    async with EtpCommunicator(subprotocols=["etp.ext.v2"]) as client:
        await client.expect_event("__hello")
        parts = client.stream("count", "2")
        assert [(await anext(parts)).data for _ in range(2)] == ["0", "1"]
        with pytest.raises(EventFailed, match="No more"):
            await anext(parts)


async def test_a_loop_that_ends_early_stops_the_handler_which_waited_for_it(counting: list[str]) -> None:
    async with EtpCommunicator(subprotocols=["etp.ext.v2"]) as client:
        await client.expect_event("__hello")
        async with aclosing(client.stream("count", "100000")) as parts:
            assert (await anext(parts)).data == "0"
        await until(lambda: bool(counting))
        assert int(counting[0].split()[-1]) < 1_000
        assert (await client.emit_with_ack("echo", "still here")).data == "still here"


async def test_the_end_of_the_connection_ends_the_loop(counting: list[str]) -> None:
    client = EtpCommunicator(subprotocols=["etp.ext.v2"])
    await client.connect()
    await client.expect_event("__hello")
    parts = client.stream("count", "100000")
    await anext(parts)
    await client.disconnect()
    with pytest.raises(ConnectionClosed):
        async for _ in parts:
            pass


async def test_parts_of_an_event_without_a_loop_are_frames(counting: list[str]) -> None:
    async with EtpCommunicator(subprotocols=["etp.ext.v2"]) as client:
        await client.expect_event("__hello")
        await client.send_frame("count||9||1")
        assert [await client.receive_frame() for _ in range(2)] == ["__part_count||9||0", "__ack_count||9"]
