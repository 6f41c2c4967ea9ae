"""Handlers that declare types: what they get, what they answer, and what clients learn about data that does not fit."""

import asyncio
import json
import logging
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

import msgspec
import pytest
from django import forms
from django.contrib.auth.models import AnonymousUser, User
from rest_framework import serializers

from django_etp import (
    AckTimeout,
    Connection,
    Event,
    EventFailed,
    History,
    InvalidPayload,
    current_event,
    etp_event,
    etp_room,
    rooms,
)
from django_etp.events.registry import Registry
from django_etp.protocol import SUBPROTOCOL
from django_etp.schemas import schema
from django_etp.testing import EtpCommunicator
from tests.support.declared import guest, refused
from tests.support.hooks import both
from tests.support.inprocess import Wire, errors
from tests.support.middleware import use

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.usefixtures("etp_registry")


@dataclass
class Say:
    text: str
    to: int | None = None


class Packed(msgspec.Struct):
    text: str


class Person(serializers.ModelSerializer):
    class Meta:
        model = User
        fields = ("username",)


class PersonForm(forms.ModelForm):
    class Meta:
        model = User
        fields = ("username",)


def say(is_async: bool) -> list[Any]:
    """Register a handler of `say`, as an `async def` or as a plain `def`; return a list that will hold what it gets."""
    got: list[Any] = []

    async def coroutine_function(connection: Connection, message: Say) -> list[Say]:
        got.append(message)
        return [message]

    def plain_function(connection: Connection, message: Say) -> list[Say]:
        got.append(message)
        return [message]

    etp_event("say")(coroutine_function if is_async else plain_function)
    return got


@both
async def test_a_handler_gets_a_value_and_answers_one(is_async: bool) -> None:
    got = say(is_async)
    async with Wire() as wire:
        wire.put('say||1||{"text":"hi"}')
        assert await wire.text() == '__ack_say||1||[{"text":"hi","to":null}]'
        wire.put('say||0||{"text":"hi","to":2}')
    assert got == [Say("hi"), Say("hi", 2)]


@both
async def test_the_handler_does_not_run_for_data_that_does_not_fit(is_async: bool, caplog: Any) -> None:
    got, told = say(is_async), errors()
    caplog.set_level(logging.INFO, "django_etp")
    async with Wire(subprotocols=[SUBPROTOCOL]) as wire:
        await wire.text()  # the greeting
        wire.put('say||1||{"text":"hi","to":"x"}')
        name, ack_id, data = (await wire.text()).split("||", 2)
    assert (name, ack_id) == ("__err_say", "1")
    message = "Input should be a valid integer, unable to parse string as an integer"
    assert json.loads(data) == {
        "code": "invalid_payload",
        "message": f"The data of event 'say' does not fit: to: {message}",
        "errors": [{"path": ["to"], "message": message, "code": "int_parsing"}],
    }
    assert got == []
    (error,) = told
    assert isinstance(error, InvalidPayload)
    assert [each["path"] for each in error.errors] == [["to"]]
    (record,) = [each for each in caplog.records if "does not fit" in each.getMessage()]
    assert record.levelno == logging.INFO
    assert not record.exc_info


async def test_a_plain_client_gets_no_answer_for_data_that_does_not_fit() -> None:
    say(True)
    async with Wire() as wire:
        wire.put("say||1||{}")
        wire.put('say||2||{"text":"hi"}')
        assert (await wire.text()).startswith("__ack_say||2||")


async def test_each_typed_event_is_a_kind_of_failure_of_its_own() -> None:
    told = errors()
    say(True)

    @etp_event("other")
    async def other(connection: Connection, message: Say) -> None: ...

    async with Wire() as wire:
        for frame in ("say||0||{}", "say||0||{}", "other||0||{}"):
            wire.put(frame)
    assert [re.findall("event '(.*?)'", str(error)) for error in told] == [["say"], ["other"]]


@both
async def test_what_a_handler_declares_to_answer_is_checked_in_tests(is_async: bool) -> None:
    async def coroutine_function(connection: Connection, event: Event) -> Say:
        return Say(5)  # type: ignore[arg-type]

    def plain_function(connection: Connection, event: Event) -> Say:
        return Say(5)  # type: ignore[arg-type]

    etp_event("answer")(coroutine_function if is_async else plain_function)
    told = errors()
    async with Wire(subprotocols=[SUBPROTOCOL]) as wire:
        await wire.text()
        wire.put("answer||1")
        assert '"code":"handler_error"' in await wire.text()
        wire.put("answer||0")
    (error,) = told
    assert isinstance(error, InvalidPayload)
    assert error.is_outgoing


async def test_an_answer_is_not_checked_in_production(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "is_under_test", False)

    @etp_event("answer")
    async def answer(connection: Connection, event: Event) -> int:
        return "five"  # type: ignore[return-value]

    async with Wire() as wire:
        wire.put("answer||1")
        assert await wire.text() == '__ack_answer||1||"five"'


async def test_a_plain_function_may_return_a_coroutine() -> None:
    @etp_event("later")
    def later(connection: Connection, number: int) -> Any:
        async def answer() -> int:
            await asyncio.sleep(0)
            return number

        return answer()

    later.__annotations__["return"] = "Awaitable[int]"
    etp_event("declared")(_with_answer(later))
    async with Wire() as wire:
        wire.put("declared||1||5")
        assert await wire.text() == "__ack_declared||1||5"


def _with_answer(function: Any) -> Any:
    from collections.abc import Awaitable

    def declared(connection: Connection, number: int) -> Awaitable[int]:
        result: Awaitable[int] = function(connection, number)
        return result

    return declared


@both
async def test_text_is_left_as_it_is(is_async: bool) -> None:
    async def coroutine_function(connection: Connection, text: str) -> str:
        return text + "!"

    def plain_function(connection: Connection, text: str) -> str:
        return text + "!"

    etp_event("shout")(coroutine_function if is_async else plain_function)
    async with Wire() as wire:
        wire.put('shout||1||{"no":"JSON"')
        assert await wire.text() == '__ack_shout||1||{"no":"JSON"!'
        wire.put("shout||2")
        assert await wire.text() == "__ack_shout||2||!"


async def test_no_data_is_none() -> None:
    @etp_event("maybe")
    async def maybe(connection: Connection, message: Say | None) -> Say | None:
        return message

    async with Wire() as wire:
        wire.put("maybe||1")
        assert await wire.text() == "__ack_maybe||1"
        wire.put("maybe||2||null")
        assert await wire.text() == "__ack_maybe||2"


async def test_structs_of_msgspec() -> None:
    @etp_event("pack")
    async def pack(connection: Connection, message: Packed) -> list[Packed]:
        return [message]

    async with Wire() as wire:
        wire.put('pack||1||{"text":"hi"}')
        assert await wire.text() == '__ack_pack||1||[{"text":"hi"}]'


@pytest.mark.django_db
@both
async def test_serializers_use_the_database(is_async: bool, etp_communicator: type[EtpCommunicator]) -> None:
    await User.objects.acreate(username="ada")

    async def coroutine_function(connection: Connection, person: Person) -> Person:
        return Person(await User.objects.acreate(**person.validated_data))

    def plain_function(connection: Connection, person: Person) -> Person:
        person.save()
        return person

    etp_event("person")(coroutine_function if is_async else plain_function)
    async with etp_communicator(subprotocols=[SUBPROTOCOL]) as client:
        await client.expect_event("__hello")
        answer = await client.emit_with_ack("person", {"username": "bob"})
        assert answer.json() == {"username": "bob"}
        with pytest.raises(EventFailed) as caught:
            await client.emit_with_ack("person", {"username": "ada"})
    assert [(each["path"], each["code"]) for each in caught.value.errors] == [(["username"], "unique")]


@pytest.mark.django_db
async def test_forms_use_the_database_for_coroutine_functions() -> None:
    @etp_event("person")
    async def person(connection: Connection, form: PersonForm) -> str:
        return str(form.cleaned_data["username"])

    async with EtpCommunicator() as client:
        assert (await client.emit_with_ack("person", {"username": "bob"})).data == "bob"


async def test_the_testing_kit_says_what_does_not_fit() -> None:
    say(True)
    async with EtpCommunicator() as client:
        with pytest.raises(AckTimeout) as caught:
            await client.emit_with_ack("say", {"text": 5})
    cause = caught.value.__cause__
    assert isinstance(cause, InvalidPayload)
    assert [each["code"] for each in cause.errors] == ["string_type"]


@both
async def test_events_inside_a_room_are_typed_as_well(is_async: bool) -> None:
    @etp_room("desks/<int:pk>")
    async def desk(connection: Connection, pk: int) -> None: ...

    async def coroutine_function(connection: Connection, message: Say, pk: int) -> list[Any]:
        return [pk, message, current_event().name]

    def plain_function(connection: Connection, message: Say, pk: int) -> list[Any]:
        return [pk, message, current_event().name]

    desk.event("say")(coroutine_function if is_async else plain_function)
    async with EtpCommunicator(user=AnonymousUser(), subprotocols=["etp.ext.v2"]) as client:
        await client.expect_event("__hello")
        room = await client.join("desks/7")
        assert (await room.emit_with_ack("say", {"text": "hi"})).json() == [7, {"text": "hi", "to": None}, "say"]
        with pytest.raises(EventFailed) as caught:
            await room.emit_with_ack("say", {})
    assert caught.value.errors[0]["path"] == ["text"]


# The states of rooms


async def pass_on(connection: Connection, event: Event, handle: Any) -> Any:
    return await handle(connection, event)


async def replace_state(connection: Connection, event: Event, handle: Any) -> Any:
    await handle(connection, event)
    return {"replaced": True}


@pytest.mark.parametrize("is_surrounded", [False, True])
@pytest.mark.parametrize(
    ("annotation", "state", "expected"),
    [
        (Say, Say("hi"), {"text": "hi", "to": None}),
        (list[Packed], [Packed("hi")], [{"text": "hi"}]),
        (Say | None, None, None),
        (Person, User(username="ada"), {"username": "ada"}),
        (str, "hi", "hi"),
        (None, None, None),
    ],
    ids=str,
)
@both
async def test_the_library_of_its_type_writes_the_state_of_a_room(
    is_async: bool, annotation: Any, state: object, expected: object, is_surrounded: bool, settings: Any
) -> None:
    use(settings, __name__, *(["pass_on"] if is_surrounded else []))

    async def coroutine_function(connection: Connection, pk: int) -> Any:
        return state

    def plain_function(connection: Connection, pk: int) -> Any:
        return state

    function = coroutine_function if is_async else plain_function
    function.__annotations__["return"] = annotation
    etp_room("desks/<int:pk>", history=History())(function)
    async with guest(user=AnonymousUser()) as client:
        room = await client.join("desks/7")
        assert room.state == expected
        assert room.position == await rooms.aposition("desks/7")


@pytest.mark.django_db
@pytest.mark.usefixtures("etp_communicator")
@pytest.mark.parametrize("is_surrounded", [False, True])
@both
async def test_the_database_may_be_read_for_a_state(is_async: bool, is_surrounded: bool, settings: Any) -> None:
    use(settings, __name__, *(["pass_on"] if is_surrounded else []))
    await User.objects.acreate(username="ada")

    async def coroutine_function(connection: Connection, pk: int) -> list[Person]:
        return User.objects.all()  # type: ignore[return-value]

    def plain_function(connection: Connection, pk: int) -> list[Person]:
        return User.objects.all()  # type: ignore[return-value]

    etp_room("desks/<int:pk>")(coroutine_function if is_async else plain_function)
    async with guest(user=AnonymousUser()) as client:
        assert (await client.join("desks/7")).state == [{"username": "ada"}]


@pytest.mark.parametrize(("annotation", "state"), [(Say, {"text": 5}), (str, 5), (None, 5)])
@pytest.mark.parametrize("is_surrounded", [False, True])
async def test_a_state_that_does_not_fit_fails_the_join_in_tests(
    annotation: Any, state: object, is_surrounded: bool, settings: Any
) -> None:
    use(settings, __name__, *(["pass_on"] if is_surrounded else []))

    async def desk(connection: Connection, pk: int) -> Any:
        return state

    desk.__annotations__["return"] = annotation
    etp_room("desks/<int:pk>")(desk)
    reported = errors()
    async with guest(user=AnonymousUser()) as client:
        await refused(client, "desks/7", "handler_error")
    [error] = reported
    assert isinstance(error, InvalidPayload)


async def test_a_state_of_another_class_from_a_middleware_is_json(settings: Any) -> None:
    use(settings, __name__, "replace_state")

    @etp_room("desks/<int:pk>")
    async def desk(connection: Connection, pk: int) -> Say:
        return Say("hi")

    async with guest(user=AnonymousUser()) as client:
        assert (await client.join("desks/7")).state == {"replaced": True}


def test_a_state_that_cannot_be_sent_is_refused_with_the_place() -> None:
    def desk(connection: Connection, pk: int) -> Unreadable: ...  # type: ignore[empty-body]

    place = re.escape(f"{__name__}.{desk.__qualname__} ({__file__}:{desk.__code__.co_firstlineno})")
    with pytest.raises(TypeError, match=rf"^{place} declares a state that cannot be sent: .*Unreadable"):
        etp_room("desks/<int:pk>")(desk)


# Registering


def test_a_handler_without_types_is_left_as_it_is(etp_registry: Registry) -> None:
    def untyped(connection, event): ...  # type: ignore[no-untyped-def]

    async def with_event(connection: Connection, event: Event) -> Any: ...

    for function in (untyped, with_event):
        etp_event(function.__name__)(function)
        assert etp_registry.namespace("default").events[function.__name__].function is function


def test_only_a_check_puts_a_coroutine_around_a_handler_that_answers_with_text(
    etp_registry: Registry, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    async def say(connection: Connection, event: Event) -> str:
        return event.data

    def code() -> Any:
        coroutine = etp_registry.namespace("default").events.pop("say").function(None, Event("say"))
        coroutine.close()
        return coroutine.cr_code

    etp_event("say")(say)
    assert code() is not say.__code__  # under the testing kit
    monkeypatch.setattr(schema, "is_under_test", False)
    etp_event("say")(say)
    assert code() is say.__code__
    settings.DEBUG = True
    etp_event("say")(say)
    assert code() is not say.__code__


def test_the_function_itself_can_be_called_with_a_value() -> None:
    @etp_event("say")
    async def say(connection: Any, message: Say) -> str:
        return message.text

    assert asyncio.run(say(None, Say("hi"))) == "hi"


def test_a_typed_handler_has_the_place_of_its_function(etp_registry: Registry) -> None:
    say(True)
    assert "test_typed.say.<locals>.coroutine_function" in etp_registry.namespace("default").events["say"].place


class Unreadable: ...


def test_a_type_that_cannot_be_read_is_refused_with_the_place() -> None:
    def handler(connection: Connection, message: Unreadable) -> None: ...

    place = re.escape(f"{__name__}.{handler.__qualname__} ({__file__}:{handler.__code__.co_firstlineno})")
    with pytest.raises(TypeError, match=rf"^{place} declares a type that cannot be used for payloads: .*Unreadable"):
        etp_event("event")(handler)


def test_a_type_that_cannot_be_written_is_refused() -> None:
    def handler(connection: Connection, event: Event) -> Unreadable: ...  # type: ignore[empty-body]

    with pytest.raises(TypeError, match="Unreadable"):
        etp_event("event")(handler)


def start(tmp_path: Path, module: str) -> subprocess.CompletedProcess[str]:
    """Start Django with an app that has this event module, and let it handle one event."""
    (tmp_path / "typed_shop").mkdir()
    (tmp_path / "typed_shop/__init__.py").touch()
    (tmp_path / "typed_shop/etp_events.py").write_text(dedent(module))
    code = f"""
import sys
sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]
import django
from django.conf import settings
settings.configure(INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django_etp", "typed_shop"])
django.setup()
from django_etp import Event
from django_etp.events.registry import registry
registry.discover()
print(registry.namespace("default").events["say"].function(None, Event("say", 1, '{{"text":"hi"}}')))
[room] = registry.namespace("default").rooms
print(hasattr(room.events["say"].function, "__wrapped__"), room.state_writer.write({{"text": "hi"}}))
"""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)


def test_types_may_be_written_after_the_handler_that_names_them(tmp_path: Path) -> None:
    module = """
        from __future__ import annotations
        from dataclasses import dataclass
        from typing import TYPE_CHECKING
        from django_etp import etp_event, etp_room

        if TYPE_CHECKING:
            from django_etp import Connection

        @etp_event("say")
        def say(connection: Connection, message: Say) -> list[Say]:
            return [message]

        @etp_room("desks/<int:pk>")
        def desk(connection: Connection, pk: int) -> Say: ...

        @desk.event("say")
        def say_inside(connection: Connection, message: Say, pk: int): ...

        @dataclass
        class Say:
            text: str
    """
    done = start(tmp_path, module)
    assert done.stdout == '[{"text":"hi"}]\nTrue {"text":"hi"}\n', done.stderr


def test_a_type_that_cannot_be_read_stops_the_start_with_the_place(tmp_path: Path) -> None:
    module = """
        from django_etp import etp_event

        class Unreadable: ...

        @etp_event("say")
        def say(connection, message: Unreadable): ...
    """
    done = start(tmp_path, module)
    assert done.returncode != 0
    place = f"typed_shop.etp_events.say ({tmp_path}/typed_shop/etp_events.py:6)"
    assert f"TypeError: {place} declares a type that cannot be used for payloads" in done.stderr
