"""`manage.py etp_listen`: prints the events of a server."""

import asyncio
import itertools
import subprocess
import sys

import pytest
from websockets.asyncio.server import ServerConnection, serve

from tests.support.servers import ROOT, Server


def listen(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "manage.py", "etp_listen", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_etp_listen_prints_what_comes(server: Server) -> None:
    arguments = ["--emit", "broadcast=today", "--count", "1", "--cookie", "a=b", "--header", "X-Token: abc"]
    process = listen(server.ws_url(), *arguments)
    assert process.returncode == 0, process.stderr
    lines = [line.partition(" ")[2] for line in process.stdout.splitlines()]
    assert lines == ["connected", "news today", "disconnected: 1000"]


async def test_etp_listen_prints_as_many_events_as_it_was_asked_for_where_more_come_at_once() -> None:
    async def send_at_once(connection: ServerConnection) -> None:
        for number in range(100):
            await connection.send(f"news||0||{number}")
        await connection.wait_closed()

    async with serve(send_at_once, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        process = await asyncio.to_thread(listen, f"ws://127.0.0.1:{port}/", "--count", "3")
    assert process.returncode == 0, process.stderr
    lines = [line.partition(" ")[2] for line in process.stdout.splitlines()]
    assert lines == ["connected", "news 0", "news 1", "news 2", "disconnected: 1000"]


async def test_etp_listen_prints_no_terminal_escapes() -> None:
    async def send_escapes(connection: ServerConnection) -> None:
        await connection.send("n\x1b[2J||0||h\xe9 \x1b]0;owned\x07\x9b\x7f\r\u202e\nforged")
        await connection.wait_closed()

    async with serve(send_escapes, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        process = await asyncio.to_thread(listen, f"ws://127.0.0.1:{port}/", "--count", "1")
    assert process.returncode == 0, process.stderr
    line = process.stdout.splitlines()[1].partition(" ")[2]
    assert line == r"n\x1b[2J h\xe9 \x1b]0;owned\x07\x9b\x7f\r\u202e\nforged".replace(r"\xe9", "\xe9")


async def test_etp_listen_ends_where_nobody_reads_what_it_prints() -> None:
    async def ask_on_and_on(connection: ServerConnection) -> None:
        for number in itertools.count(1):
            await connection.send(f"news||{number}")
            await connection.recv()

    async with serve(ask_on_and_on, "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        pipe = 'exec 3>&1; { "$0" manage.py etp_listen "$1"; echo $? >&3; } | head -n 1 >&3'
        command = ["sh", "-c", pipe, sys.executable, url]
        process = await asyncio.to_thread(
            subprocess.run, command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
        )
    assert [line.rpartition(" ")[2] for line in process.stdout.splitlines()] == ["connected", "0"]
    assert "BrokenPipeError" not in process.stderr


@pytest.mark.parametrize("server", ["uvicorn"], indirect=True)
def test_etp_listen_says_what_keeps_it_from_connecting(server: Server) -> None:
    process = listen(server.ws_url(), "--origin", "https://elsewhere.example")
    assert process.returncode == 1
    assert "\nCommandError: No connection to the server: server rejected" in process.stderr


def test_etp_listen_refuses_a_url_of_another_scheme() -> None:
    process = listen("http://127.0.0.1/")
    assert process.returncode == 1
    assert "\nCommandError: No connection to the server: http://127.0.0.1/ isn't a valid URI" in process.stderr


def test_etp_listen_refuses_a_cookie_without_a_value() -> None:
    process = listen("ws://127.0.0.1/", "--cookie", "sessionid")
    assert process.returncode == 1
    assert "Expected a name and a value with '=' between them, got 'sessionid'." in process.stderr


def test_etp_listen_refuses_an_event_that_cannot_be_sent() -> None:
    process = listen("ws://127.0.0.1/", "--emit", "__say=hello")
    assert process.returncode == 1
    assert "\nCommandError: '__say=hello' cannot be emitted: Event names that start with '__'" in process.stderr


@pytest.mark.parametrize("count", ["0", "-1"])
def test_etp_listen_refuses_to_print_no_event(count: str) -> None:
    process = listen("ws://127.0.0.1/", f"--count={count}")
    assert process.returncode == 1
    assert f"Expected a count of 1 or more, got {count}." in process.stderr
