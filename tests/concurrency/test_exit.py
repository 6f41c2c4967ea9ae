"""A process that exits waits for calls that run, and not longer than their grace."""

import asyncio
import subprocess
import sys
from functools import partial

import pytest

from tests.support.peers import connect, eventually
from tests.support.servers import ROOT, start_server

# A process of its own, whose handlers run in threads while it ends.
PROGRAM = """
import asyncio, os, sys, threading, time
import django
from django.conf import settings
settings.configure(ETP={{"DISCONNECT_GRACE": {grace}}})
django.setup()
from django_etp.concurrency.workers import run_handler

begun = threading.Event()

def work(seconds):
    begun.set()
    threading.Event().wait(seconds)
    print("the handler has ended", flush=True)

async def start(seconds):
    call = asyncio.create_task(run_handler(work, seconds))
    while not begun.is_set():
        await asyncio.sleep(0)
    return call

{program}
"""


def run_program(program: str, *, grace: float) -> str:
    """Run it, and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(grace=grace, program=program)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_a_process_that_ends_lets_a_running_handler_end() -> None:
    assert run_program("asyncio.run(start(0.5))", grace=30) == "the handler has ended\n"


def test_a_process_that_ends_gives_a_handler_no_more_than_the_grace() -> None:
    assert run_program("asyncio.run(start(3600))", grace=0.2) == ""


def test_a_process_that_ends_does_not_wait_for_a_call_that_was_given_up() -> None:
    program = """
async def give_up():
    call = await start(3600)
    call.cancel()
    await asyncio.wait([call])

asyncio.run(give_up())
"""
    assert run_program(program, grace=3600) == ""


ORM = """
from asgiref.sync import sync_to_async
from django_etp.concurrency.database import use_handler_thread

async def start_query(seconds, age):
    with use_handler_thread():
        call = asyncio.create_task(sync_to_async(work)(seconds))
        while not begun.is_set():
            await asyncio.sleep(0)
        await asyncio.sleep(age)
"""


def test_a_process_that_ends_lets_a_running_query_of_the_orm_end() -> None:
    assert run_program(f"{ORM}\nasyncio.run(start_query(0.5, 0))", grace=30) == "the handler has ended\n"


def test_a_process_that_ends_does_not_wait_for_a_query_that_began_before_the_grace() -> None:
    """A handler that waited for it was cancelled when its own grace was over."""
    assert run_program(f"{ORM}\nasyncio.run(start_query(3600, 1.0))", grace=0.9) == ""


def test_running_calls_end_before_libraries_close_at_exit() -> None:
    program = """
import atexit

atexit.register(print, "a library closes")
asyncio.run(start(0.5))
"""
    assert run_program(program, grace=30).splitlines() == ["the handler has ended", "a library closes"]


def test_a_child_of_multiprocessing_lets_a_running_handler_end() -> None:
    """It runs no callbacks of atexit."""
    program = """
import multiprocessing, warnings
warnings.simplefilter("ignore")  # Python 3.12 warns of a fork while threads run

asyncio.run(run_handler(int))
child = multiprocessing.get_context("fork").Process(target=lambda: asyncio.run(start(0.5)))
child.start()
child.join()
assert child.exitcode == 0
"""
    assert run_program(program, grace=30) == "the handler has ended\n"


def test_a_forked_child_has_threads_of_its_own() -> None:
    program = """
import warnings
warnings.simplefilter("ignore")  # Python 3.12 warns of a fork while threads run

asyncio.run(run_handler(int))
child = os.fork()
name = b"child\\n" if child == 0 else b"parent\\n"
asyncio.run(asyncio.wait_for(run_handler(os.write, 1, name), 30))
if child:
    assert os.waitpid(child, 0)[1] == 0
"""
    assert sorted(run_program(program, grace=30).splitlines()) == ["child", "parent"]


@pytest.mark.parametrize("event", ["stick", "stick-async"])
@pytest.mark.parametrize("kind", ["daphne", "uvicorn"])
async def test_a_server_that_is_told_to_end_does_not_wait_for_a_handler_that_hangs(kind: str, event: str) -> None:
    with start_server(kind, settings={"ETP": {"DISCONNECT_GRACE": 0.5}}) as server:
        async with connect(server, "/misbehaving/?it") as peer:
            await peer.send(f"{event}||0||")
            await eventually(
                partial(asyncio.to_thread, server.get_json, "/record/it/"),
                lambda answer: ["stuck", True] in answer["record"],
            )
            await asyncio.to_thread(server.stop)  # fails after 15 s
        assert server.complaints == []
