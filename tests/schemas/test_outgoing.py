"""Events that the server sends, with the types of their payloads."""

import asyncio
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
from django.contrib.auth.models import AnonymousUser
from django.db import transaction

from django_etp import Connection, Event, InvalidEventName, InvalidPayload, etp_event, outgoing, rooms
from django_etp.schemas import schema
from django_etp.schemas.outgoing import declared
from django_etp.testing import EtpCommunicator
from tests.support.inprocess import Wire
from tests.support.rooms import Call, clients, got

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.usefixtures("etp_registry")


@dataclass
class Said:
    text: str
    by: int | None = None


class Packed(msgspec.Struct):
    text: str


said = outgoing("said", Said)
packed = outgoing("packed", list[Packed])
raw = outgoing("raw", str)
number = outgoing("number", int | None)
anything = outgoing("anything", Any)

FRAME = 'said||0||{"text":"hi","by":null}'


@pytest.mark.parametrize(
    ("event", "data", "frame"),
    [
        (said, Said("hi"), FRAME),
        (packed, [Packed("hi")], 'packed||0||[{"text":"hi"}]'),
        (raw, '"hi"', 'raw||0||"hi"'),
        (number, 5, "number||0||5"),
        (number, None, "number||0"),
        (anything, {"a": 1}, 'anything||0||{"a":1}'),
    ],
)
async def test_the_type_writes_the_payload_to_rooms(call: Call, event: Any, data: Any, frame: str) -> None:
    async with clients("lobby") as (client,):
        await call("emit", "lobby", event, data)
        await call("emit", ["lobby", "other"], event, data)
        await call("broadcast", event, data)
        await call("emit_to", client.id, event, data)
        assert [await client.receive_frame() for _ in range(4)] == [frame] * 4


async def test_questions_to_rooms_and_connections(call: Call) -> None:
    async with clients("lobby") as (client,):
        for name, target in (("emit_with_ack", "lobby"), ("emit_to_with_ack", client.id)):
            asking = asyncio.ensure_future(call(name, target, said, Said("hi")))
            question = await client.expect_event("said")
            assert question.json() == {"text": "hi", "by": None}
            await client.answer(question)
            await asking
        assert await got(client) == [[]]


async def test_a_handler_sends_to_its_connection() -> None:
    @etp_event("async")
    async def asynchronous(connection: Connection, event: Event) -> Any:
        await connection.aemit(said, Said("hi"))
        return (await connection.aemit_with_ack(said, Said("hi"))).data

    @etp_event("plain")
    def plain(connection: Connection, event: Event) -> Any:
        connection.emit(said, Said("hi"))
        return connection.emit_with_ack(said, Said("hi")).data

    for index, name in enumerate(("async", "plain"), 1):
        async with Wire() as wire:
            wire.put(f"{name}||1")
            assert await wire.text() == FRAME
            assert await wire.text() == FRAME.replace("||0||", "||1||")
            wire.put(f"__ack_said||1||{index}")
            assert await wire.text() == f"__ack_{name}||1||{index}"


async def test_a_payload_that_does_not_fit_is_refused_and_not_sent(call: Call) -> None:
    async with clients("lobby") as (client,):
        for data in (Said(5), {"text": "hi"}, None):  # type: ignore[arg-type]
            with pytest.raises(InvalidPayload) as caught:
                await call("emit", "lobby", said, data)
            assert caught.value.is_outgoing
        assert await got(client) == [[]]


async def test_in_production_a_payload_is_not_checked(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "is_under_test", False)
    async with clients("lobby") as (client,):
        await call("emit", "lobby", said, Said(5))  # type: ignore[arg-type]
        assert await client.receive_frame() == 'said||0||{"text":5,"by":null}'


@pytest.mark.django_db
async def test_the_last_event_with_a_key_wins() -> None:
    def change() -> None:
        with transaction.atomic():
            for text in ("a", "b"):
                rooms.emit_on_commit("lobby", said, Said(text), key=1)

    @etp_event("change")
    def handle(connection: Connection, event: Event) -> Any:
        connection.join("lobby")
        change()

    async with EtpCommunicator(user=AnonymousUser()) as client:
        await client.emit_with_ack("change")
        assert (await client.expect_event("said")).json() == {"text": "b", "by": None}
        await client.expect_nothing()


def test_what_it_knows() -> None:
    event = outgoing("said", Said, namespace="game")
    assert (event.name, event.type, event.namespace) == ("said", Said, "game")
    assert event.place == f"{__file__}:{_line_of('event = outgoing(')}"
    assert repr(event) == f"<Outgoing 'said' {Said!r} namespace='game'>"


def _line_of(text: str) -> int:
    lines = Path(__file__).read_text().splitlines()
    return next(index for index, line in enumerate(lines, 1) if text in line)


@pytest.mark.parametrize("name", ["__said", "a||b", None])
def test_a_name_that_no_event_can_have_is_refused(name: Any) -> None:
    with pytest.raises(InvalidEventName):
        outgoing(name, Said)


def test_a_namespace_that_is_no_name_is_refused() -> None:
    with pytest.raises(TypeError, match="namespace must be str, got 7"):
        outgoing("said", Said, namespace=7)  # type: ignore[arg-type]


def test_a_type_that_cannot_be_written_is_refused_with_the_place() -> None:
    class Unwritable: ...

    with pytest.raises(
        TypeError, match=rf"outgoing\('said'\) at {re.escape(__file__)}:\d+ declares a type that cannot"
    ):
        outgoing("said", Unwritable)


def test_before_all_modules_are_imported_it_waits_for_them() -> None:
    code = """
import sys
from django.conf import settings
settings.configure(INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django_etp"])
import django
from django_etp.schemas.outgoing import outgoing
class Unwritable: ...
outgoing("said", Unwritable)
print("waits")
django.setup()
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout == "waits\n"
    assert "outgoing('said') at <string>:8 declares a type that cannot be used for payloads" in done.stderr


TYPED = """
from dataclasses import dataclass
from typing import assert_type
from django.contrib.auth.models import AnonymousUser, User
from django.urls import path
from django_etp import Connection, outgoing, rooms
from django_etp import etp_evnt  # wrong
from django_etp.auth import TokenAuthMiddleware
from django_etp.consumers import EtpConsumer

@dataclass
class Said:
    text: str

said = outgoing("said", Said)
maybe = outgoing("maybe", int | None)

async def send(connection: Connection) -> None:
    rooms.emit("lobby", said, Said("hi"))
    rooms.emit("lobby", "said", {"text": "hi"})
    rooms.emit("lobby", "said")
    rooms.emit("lobby", maybe, 5)
    await rooms.aemit_with_ack("lobby", said, Said("hi"), timeout=5)
    await connection.aemit(said, Said("hi"))
    assert_type(connection.user, User | AnonymousUser)
    rooms.emit("lobby", said, Said("hi"), exclude=connection)
    rooms.emit("lobby", said, Said("hi"), exclude=[connection, connection.id])
    rooms.emit_on_commit("lobby", said, Said("hi"), exclude=rooms.connections())
    rooms.join(connection, "lobby")
    rooms.leave(connection.id, "lobby")
    rooms.broadcast("said", exclude=[5])  # wrong
    rooms.leave(5, "lobby")  # wrong
    rooms.emit("lobby", said, 5)  # wrong
    rooms.emit_on_commit("lobby", said, {"text": "hi"}, key=1)  # wrong
    rooms.broadcast(said, "hi")  # wrong
    rooms.of("game").emit_to("id", said, [Said("hi")])  # wrong
    await connection.aemit(said, "hi")  # wrong

routes = [
    path("ws/", EtpConsumer.as_asgi(namespace="game")),
    path("app/", TokenAuthMiddleware(EtpConsumer.as_asgi(), authenticate=lambda token, scope: None)),
]
"""


def test_mypy_checks_what_is_sent_and_takes_what_is_right(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    (tmp_path / "typed_sends.py").write_text(TYPED)
    options = ["--strict", "--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(ROOT / ".mypy_cache")]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, str(tmp_path / "typed_sends.py")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
    )
    wrong = [index for index, line in enumerate(TYPED.splitlines(), 1) if line.endswith("# wrong")]
    assert sorted({int(line) for line in re.findall(r"typed_sends\.py:(\d+): error", done.stdout)}) == wrong, (
        done.stdout
    )


def test_declared_events_are_listed_while_they_are_in_use() -> None:
    kept = [outgoing(name, int, namespace="listed") for name in ("b", "a")]
    assert [event for event in declared() if event.namespace == "listed"] == kept[::-1]
    kept.clear()
    assert not any(event.namespace == "listed" for event in declared())
