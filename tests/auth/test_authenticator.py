"""What an `authenticate` function may return and raise, and what the log then holds."""

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.utils.functional import SimpleLazyObject
from rest_framework.exceptions import AuthenticationFailed, Throttled

from django_etp.auth import authenticator as module
from django_etp.auth.authenticator import Authenticator, Grant, NoVerdict

TOKEN = "s3cret-t0ken-of-ada"
USER = object()
SOON = datetime.now(UTC) + timedelta(hours=1)


async def grant(result: Any) -> Grant | None:
    return await Authenticator(lambda token, scope: result).grant(TOKEN, {})


def raising(error: BaseException) -> Authenticator:
    def fail(token: str, scope: dict[str, Any]) -> Any:
        raise error

    return Authenticator(fail)


@pytest.mark.parametrize("zone", [UTC, timezone(timedelta(hours=9))])
async def test_a_pair_of_a_user_and_a_time_is_a_grant(zone: tzinfo) -> None:
    expires_at = datetime.now(zone) + timedelta(hours=1)
    given = await grant((USER, expires_at))
    assert given == Grant(USER, expires_at)
    assert 3500 < (given.expires_in or 0) <= 3600


async def test_a_pair_of_a_user_and_none_is_a_grant_that_does_not_expire() -> None:
    given = await grant((USER, None))
    assert (given, given.expires_in) == (Grant(USER, None), None)


async def test_the_function_may_be_a_coroutine_function_a_plain_one_or_an_object() -> None:
    async def ask(token: str, scope: dict[str, Any]) -> Any:
        assert (token, scope) == (TOKEN, {"path": "/ws/"})
        return USER, None

    class Asking:
        async def __call__(self, token: str, scope: dict[str, Any]) -> Any:
            return await ask(token, scope)

    for function in (ask, Asking(), lambda token, scope: ask(token, scope)):
        assert await Authenticator(function).grant(TOKEN, {"path": "/ws/"}) == Grant(USER, None)


async def test_a_plain_function_runs_in_a_thread_of_the_hooks() -> None:
    names: list[str] = []

    def ask(token: str, scope: dict[str, Any]) -> Any:
        names.append(threading.current_thread().name)
        return USER, None

    await Authenticator(ask).grant(TOKEN, {})
    assert names[0].startswith("etp-hook")


async def test_a_lazy_user_is_unwrapped_since_a_middleware_inside_may_change_what_it_wraps() -> None:
    lazy = SimpleLazyObject(lambda: USER)
    str(lazy)
    given = await grant((lazy, None))
    assert given is not None
    assert given.user is USER


@pytest.mark.parametrize("error", [PermissionDenied(), AuthenticationFailed()], ids=repr)
async def test_it_refuses_by_an_exception(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    assert await raising(error).grant(TOKEN, {}) is None
    assert caplog.records == []


@pytest.mark.parametrize("result", [None, (USER, datetime.now(UTC)), (USER, SOON - timedelta(days=1))])
async def test_none_and_an_expiry_in_the_past_refuse(result: Any) -> None:
    assert await grant(result) is None


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (USER, "got object"),
        (TOKEN, "got str"),
        ([USER, None], "got list"),
        ((USER,), "got a tuple of 1"),
        ((USER, None, TOKEN), "got a tuple of 3"),
        ((None, None), "got a pair without a user"),
        ((USER, 1_900_000_000), "got int"),
        ((USER, datetime.now()), "got a naive datetime"),
    ],
)
async def test_another_result_is_a_type_error_in_the_log(
    result: Any, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(NoVerdict):
        await grant(result)
    assert "TypeError: " in caplog.text
    assert words in caplog.text
    assert TOKEN not in caplog.text


@pytest.mark.parametrize(
    "error",
    [
        ValueError(f"no such token: {TOKEN}"),
        KeyError(TOKEN),
        LookupError("gone"),
        Throttled(),
        SystemExit(3),
        StopIteration(),
    ],
    ids=repr,
)
async def test_another_exception_is_no_verdict_and_logged_without_the_token(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(NoVerdict) as raised:
        await raising(error).grant(TOKEN, {})
    assert raised.value.__cause__ is None
    assert "The authenticate function failed" in caplog.text
    assert "in fail" in caplog.text  # where it was
    assert TOKEN not in caplog.text
    assert TOKEN not in repr([vars(record) for record in caplog.records])


@pytest.mark.parametrize("is_async", [True, False])
async def test_a_function_that_hangs_is_no_verdict_after_its_limit(
    is_async: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "LIMIT", 0.05)
    door = threading.Event()

    async def hang(token: str, scope: dict[str, Any]) -> Any:
        await module.asyncio.Event().wait()

    def block(token: str, scope: dict[str, Any]) -> Any:
        door.wait(10)

    functions: dict[bool, Callable[..., Any]] = {True: hang, False: block}
    try:
        with pytest.raises(NoVerdict):
            await Authenticator(functions[is_async]).grant(TOKEN, {})
    finally:
        door.set()
    assert "longer than 0.05 s" in caplog.text


@pytest.mark.parametrize("function", [None, "authenticate", 1])
def test_what_cannot_be_called_is_refused_when_the_project_starts(function: Any) -> None:
    with pytest.raises(TypeError, match="must be a function"):
        Authenticator(function)
