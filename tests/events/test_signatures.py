"""Signatures that cannot work are refused where they are written, and declared types are found."""

import functools
import re
from collections.abc import AsyncIterator, Awaitable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import pytest

import django_etp
from django_etp import Connection, Event, etp_event, on_connect, on_disconnect, on_error, on_unknown_event
from django_etp.events.signatures import declared_result, declared_types, place_of

if TYPE_CHECKING:
    from decimal import Decimal

pytestmark = pytest.mark.usefixtures("etp_registry")


@dataclass
class Say:
    text: str


def none() -> None: ...
def one(connection: Any) -> None: ...
def two(connection: Any, event: Any) -> None: ...
async def three(connection: Any, event: Any, more: Any) -> None: ...
def keyword(connection: Any, *, event: Any) -> None: ...
def two_and_keyword(connection: Any, event: Any, *, more: Any) -> None: ...


class Callable_:
    def __call__(self, connection: Any) -> None: ...


WRONG = [none, one, three, keyword, two_and_keyword, Callable_(), functools.partial(two, None)]


@pytest.mark.parametrize("function", WRONG)
def test_a_handler_that_cannot_take_two_arguments_is_refused(function: Any) -> None:
    with pytest.raises(TypeError, match=r"is called with \(connection, event\) and cannot take that"):
        etp_event("event")(function)


def test_the_message_names_the_function_its_place_and_its_signature() -> None:
    line = three.__code__.co_firstlineno
    place = re.escape(f"{__name__}.three ({__file__}:{line})")
    with pytest.raises(
        TypeError, match=rf"^{place} .* its signature is \(connection: Any, .*\) -> None: missing .*more"
    ):
        etp_event("event")(three)


@pytest.mark.parametrize("function", [Callable_(), functools.partial(Callable_())])
def test_the_place_of_an_instance_is_that_of_its_method(function: Any) -> None:
    line = Callable_.__call__.__code__.co_firstlineno
    assert place_of(function) == f"{__name__}.Callable_.__call__ ({__file__}:{line})"


@pytest.mark.parametrize(
    ("hook", "function"),
    [
        (on_connect, two),
        (on_connect, none),
        (on_disconnect, one),
        (on_disconnect, three),
        (on_error, one),
        (on_unknown_event, one),
    ],
)
def test_a_hook_that_cannot_take_its_arguments_is_refused(hook: Any, function: Any) -> None:
    with pytest.raises(TypeError, match="is called with"):
        hook(function)


def test_what_takes_the_arguments_in_another_way_is_no_mistake() -> None:
    etp_event("arguments")(lambda *args: None)
    etp_event("default")(lambda connection, event, more=None: None)
    etp_event("keywords")(lambda connection, event, **more: None)
    etp_event("builtin")(print)
    on_connect(lambda *args, **kwargs: None)


def test_a_decorator_may_take_other_arguments_than_it_passes_on() -> None:
    @functools.wraps(three)
    async def with_more(connection: Any, event: Any) -> None:
        await three(connection, event, "more")

    etp_event("event")(with_more)


# Declared types


def quoted(connection: "Connection", message: "Say") -> "list[Say]": ...  # type: ignore[empty-body]
def coroutine_later(connection: Connection, message: Say) -> Coroutine[Any, Any, int]: ...  # type: ignore[empty-body]
def awaitable_later(connection: Connection, message: Say) -> Awaitable[int]: ...  # type: ignore[empty-body]
def several(*args: int) -> None: ...
def annotated(connection: Connection, number: Annotated[int, "kept"]) -> None: ...


class Method:
    def handle(self, connection: "Connection", message: "Say") -> "int": ...  # type: ignore[empty-body]

    async def __call__(self, connection: "Connection", message: "Say") -> "int": ...  # type: ignore[empty-body]


def passed_on(function: Any) -> Any:
    @functools.wraps(function)
    def inner(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return inner


@pytest.mark.parametrize(
    ("function", "types"),
    [
        (lambda connection, event: None, (Any, Any)),
        (quoted, (Say, list[Say])),
        (coroutine_later, (Say, int)),
        (awaitable_later, (Say, int)),
        (several, (Any, type(None))),
        (annotated, (Annotated[int, "kept"], type(None))),
        (Method().handle, (Say, int)),
        (Method(), (Say, int)),
        (passed_on(quoted), (Say, list[Say])),
        (functools.partial(functools.partial(quoted)), (Say, list[Say])),
        (print, (Any, Any)),
    ],
)
def test_types_are_those_of_the_function_as_it_was_written(function: Any, types: Any) -> None:
    assert declared_types(function) == types


def for_checkers_only(connection: Any, event: "Decimal") -> None: ...


def test_a_type_that_only_type_checkers_can_see_is_an_error() -> None:
    place = re.escape(f"{__name__}.for_checkers_only ({__file__}:{for_checkers_only.__code__.co_firstlineno})")
    with pytest.raises(TypeError, match=rf"^{place} declares event as 'Decimal', .*Import it there, outside of"):
        declared_types(for_checkers_only)


def test_the_type_of_the_first_argument_may_be_one_that_only_type_checkers_can_see() -> None:
    def handler(connection: "Nothing", message: "Say") -> None: ...  # type: ignore[name-defined] # noqa: F821

    assert declared_types(handler)[0] is Say


@pytest.mark.parametrize("name", ["Event", "etp.Event", "django_etp.Event", "'Event'"])
def test_the_event_may_be_imported_for_type_checkers_only(name: str) -> None:
    def handler(connection: Any, event: Any) -> None: ...

    handler.__annotations__["event"] = name
    handler = _without_globals(handler)
    assert declared_types(handler)[0] is Any


def test_a_class_of_the_project_may_be_called_event_as_well() -> None:
    def handler(connection: Any, event: "Event") -> None: ...

    assert declared_types(handler)[0] is django_etp.Event


def _without_globals(function: Any) -> Any:
    """Return a function of a module that imports nothing."""
    bare = type(function)(function.__code__, {"__name__": __name__, "Any": Any})
    bare.__annotations__ = dict(function.__annotations__)
    return bare


def test_the_result_is_found_without_a_look_at_the_arguments() -> None:
    def join(connection: Any, pk: "Decimal") -> list[int]: ...

    async def stream(connection: Any) -> AsyncIterator[Say]:
        yield Say("a")

    def later(connection: Any) -> Awaitable[int]: ...

    assert [declared_result(each) for each in (join, stream, later)] == [list[int], Say, int]
    assert declared_result(lambda connection: None) is declared_result(dict) is Any
