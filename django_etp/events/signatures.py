"""The signatures of handlers and hooks: whether they can be called, and the types that they declare.

Rules kept here:

- The registered function must take the arguments. If a decorator made it with ``functools.wraps``, the function inside
  declares the types.
- Annotations may be text: then they are looked up in the module of the function, once all modules are imported.
"""

import inspect
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Coroutine
from functools import partial
from types import SimpleNamespace
from typing import Any, get_args, get_origin, get_type_hints

from asgiref.sync import iscoroutinefunction

__all__ = ["check_takes", "declared_result", "declared_types", "is_async_generator", "place_of", "unwrapped"]

_NOTHING = inspect.Parameter.empty
# Annotations of the event that may be imported for type checkers only, as below ``if TYPE_CHECKING:``.
_EVENTS = ("Event", "django_etp.Event", "etp.Event")


def place_of(function: Callable[..., Any]) -> str:
    """Return a function's module, name, file and line, for messages."""
    written = unwrapped(function)
    if not hasattr(written, "__qualname__"):  # an instance with the method __call__
        written = unwrapped(type(written).__call__)
    name = getattr(written, "__qualname__", repr(written))
    code = getattr(written, "__code__", None)
    where = f" ({code.co_filename}:{code.co_firstlineno})" if code else ""
    return f"{getattr(written, '__module__', '?')}.{name}{where}"


def unwrapped(function: Any) -> Any:
    """Return the function as the application wrote it, without the decorators and partials around it."""
    while isinstance(function := inspect.unwrap(function), partial):
        function = function.func
    return function


def is_async_generator(function: Callable[..., Any]) -> bool:
    """Return whether calls of a function return async generators, also if plain decorators are around it."""
    for each in (function, unwrapped(function)):
        call = getattr(each, "__call__", None)  # noqa: B004 (an instance's method)
        if iscoroutinefunction(each) or iscoroutinefunction(call):
            return False
        if inspect.isasyncgenfunction(each) or inspect.isasyncgenfunction(call):
            return True
    return False


def check_takes(function: Callable[..., Any], *arguments: str) -> None:
    """Check that a function can be called with so many arguments by position.

    Raises:
        TypeError: it cannot; the text names the function, its place and what is expected.
    """
    try:
        signature = inspect.signature(function, follow_wrapped=False)
    except (TypeError, ValueError):  # of a function that is not written in Python
        return
    try:
        signature.bind(*arguments)
    except TypeError as error:
        raise TypeError(
            f"{place_of(function)} is called with ({', '.join(arguments)}) and cannot take that, as its signature is "
            f"{signature}: {error}."
        ) from None


def declared_types(function: Callable[..., Any]) -> tuple[Any, Any]:
    """Return the types of the second argument and of the result that a handler declares; ``Any`` if it does not.

    Of a streamed answer, it is the type of each part.

    Raises:
        TypeError: an annotation cannot be looked up; the text names the function and its place.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return Any, Any
    by_position = [
        each
        for each in signature.parameters.values()
        if each.kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    ]
    argument = by_position[1].annotation if len(by_position) > 1 else _NOTHING
    result = declared_result(function)
    return _looked_up(function, by_position[1].name if len(by_position) > 1 else "", argument), result


def declared_result(function: Callable[..., Any]) -> Any:
    """Return the type of the result that a function declares, as declared_types() does.

    Raises:
        TypeError: the annotation cannot be looked up; the text names the function and its place.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return Any
    result = _looked_up(function, "return", signature.return_annotation)
    if get_origin(result) in (Awaitable, Coroutine):  # of a plain function that returns a coroutine
        return get_args(result)[-1]
    if get_origin(result) in (AsyncGenerator, AsyncIterable, AsyncIterator):
        return get_args(result)[0]
    return result


def _looked_up(function: Callable[..., Any], name: str, annotation: Any) -> Any:
    if annotation is _NOTHING:
        return Any
    written = unwrapped(function)
    written = getattr(written, "__globals__", None) or getattr(type(written).__call__, "__globals__", {})
    try:
        return get_type_hints(SimpleNamespace(__annotations__={name: annotation}), written, include_extras=True)[name]
    except Exception as error:
        if isinstance(annotation, str) and annotation.strip("\"'") in _EVENTS:  # quoted, and postponed as well
            return Any
        raise TypeError(
            f"{place_of(function)} declares {name} as {annotation!r}, which cannot be looked up in its module: "
            f"{error}. Import it there, outside of TYPE_CHECKING."
        ) from error
