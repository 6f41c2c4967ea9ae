"""The reference's clients against our server: the wire is the reference's for whoever does not offer the extensions."""

import asyncio

import pytest

from tests.support.peers import WAIT
from tests.support.reference_clients import BrowserClient, GoClient
from tests.support.servers import Server

# The Go client


@pytest.mark.parametrize(
    ("name", "data", "answer"),
    [
        ("hello", "x", "hello handled"),
        ("echo", "a||b", "a||b"),
        ("echo", "", ""),
        ("nil", "", ""),
        ("nosuch", "x", ""),
        ("", "", "empty name handled"),
    ],
)
async def test_go_client_is_answered(server: Server, name: str, data: str, answer: str) -> None:
    async with GoClient(server) as client:
        assert await client.emit_with_ack(name, data) == answer
    assert client.sent == [f"{name}||1||{data}" if data else f"{name}||1"]
    assert client.received == [f"__ack_{name}||1||{answer}" if answer else f"__ack_{name}||1"]


@pytest.mark.parametrize(("reply", "frame"), [("because", "__ack_question||1||because"), ("", "__ack_question||1")])
async def test_go_client_answers(server: Server, reply: str, frame: str) -> None:
    async def answer(data: str) -> str:
        return reply

    async with GoClient(server) as client:
        client.handlers["question"] = answer
        assert await client.emit_with_ack("ask", "why") == f"got:{reply}"
    assert client.received == ["question||1||why", f"__ack_ask||1||got:{reply}"]
    assert client.sent == ["ask||1||why", frame]


async def test_go_client_answers_an_event_without_handler(server: Server) -> None:
    async with GoClient(server) as client:
        assert await client.emit_with_ack("ask", "why") == "got:"


async def test_go_client_has_many_questions_under_way(server: Server) -> None:
    async with GoClient(server) as client:
        slow = asyncio.create_task(client.emit_with_ack("slow"))
        assert await asyncio.gather(*(client.emit_with_ack("echo", str(n)) for n in range(50))) == [
            str(n) for n in range(50)
        ]
        assert not slow.done()
        assert await slow == "slow done"


@pytest.mark.parametrize("failure", ["handler_error", "permission_denied", "rate_limited", "no JSON", "no answer"])
async def test_go_client_gets_no_answer_of_a_failed_event(server: Server, failure: str) -> None:
    async with GoClient(server, "/failing/") as client:
        with pytest.raises(TimeoutError):
            await client.emit_with_ack("fail", failure, timeout=0.2)
        assert await client.emit_with_ack("fail", "[1]") == "[1]"  # and the connection lives
    assert client.received == ["__ack_fail||2||[1]"]


async def test_go_client_may_leave_a_failure_without_answer(server: Server) -> None:
    """An event whose name starts as failures do is an event like others, where the extensions are not spoken."""
    async with GoClient(server) as client:
        assert await client.emit_with_ack("__err_x", "x") == ""


async def test_go_client_hears_the_room(server: Server) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()

    async def news(data: str) -> str:
        heard.put_nowait(data)
        return ""

    async with GoClient(server) as client, GoClient(server) as other:
        other.handlers["news"] = news
        await client.emit("broadcast", "today")
        async with asyncio.timeout(WAIT):
            assert await heard.get() == "today"
    assert client.sent == ["broadcast||0||today"]
    assert other.received == ["news||0||today"]


# The browser client


async def test_browser_client_sends_and_hears_json(server: Server) -> None:
    async with BrowserClient(server) as client:
        await client.emit("broadcast", {"a": [1, None]})
        assert await client.heard("news") == {"a": [1, None]}
    assert client.sent == ['broadcast||0||{"a": [1, null]}']


async def test_browser_client_hears_what_the_server_asks_and_cannot_answer(server: Server) -> None:
    async with BrowserClient(server) as client:
        await client.emit("ask", "why")
        assert await client.heard("question") == "why"
    assert client.received == ['question||1||"why"']


async def test_browser_client_never_gets_an_answer(server: Server) -> None:
    async with BrowserClient(server) as client:
        for name in ("hello", "nil", "nosuch", "broadcast"):
            await client.emit(name, 1)
        assert await client.heard("news") == 1
    assert client.received == ["news||0||1"]


async def test_browser_client_refuses_events_without_data(server: Server) -> None:
    async with BrowserClient(server) as client:
        await client.emit("broadcast")
        async with asyncio.timeout(WAIT):
            assert await client.errors.get() == "news||0"
    assert client.sent == ["broadcast||0||"]


async def test_browser_client_gets_events_without_data_where_the_delimiter_is_always_written(server: Server) -> None:
    async with BrowserClient(server, "/delimited/") as client:
        await client.emit("broadcast")
        assert await client.heard("news") is None
        await client.emit("broadcast", "a||b")
        assert await client.heard("news") == "a||b"
        await client.emit("ask")
        assert await client.heard("question") is None
    assert client.received == ["news||0||", 'news||0||"a||b"', "question||1||"]


async def test_go_client_gets_the_delimiter_too_and_does_not_mind(server: Server) -> None:
    async with GoClient(server, "/delimited/") as client:
        assert await client.emit_with_ack("nil") == ""
        assert await client.emit_with_ack("echo", "a||b") == "a||b"
        assert await client.emit_with_ack("ask", "why") == "got:"
    assert client.received == ["__ack_nil||1||", "__ack_echo||2||a||b", "question||1||why", "__ack_ask||3||got:"]
