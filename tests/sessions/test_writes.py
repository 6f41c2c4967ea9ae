"""Changes of one session that are written together."""

import asyncio
from typing import Any

import pytest
from django.db import OperationalError

from django_etp import tenancy
from django_etp.sessions import writes
from django_etp.sessions.writes import Patch, write_patch
from tests.support.stored import acontent_of, amake_session, put

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A list that will hold the arguments of each write to the store."""
    calls: list[Any] = []
    patch = writes.patch_session

    def call(*args: Any, **options: Any) -> bool:
        calls.append((*args[:1], options))
        return patch(*args, **options)

    monkeypatch.setattr(writes, "patch_session", call)
    return calls


def fail(content: Any) -> None:
    raise ValueError("cannot be stored")


async def write_all(key: str, *patches: Patch) -> list[bool | BaseException]:
    return await asyncio.gather(*(write_patch(key, patch) for patch in patches), return_exceptions=True)


async def test_connections_that_write_at_the_same_time_share_a_write(calls: list[Any], engine: str) -> None:
    key = await amake_session()
    patches = [Patch(put(f"key{number}", number)) for number in range(50)]
    assert await write_all(key, *patches) == [True] * 50
    assert await acontent_of(key) == {f"key{number}": number for number in range(50)}
    assert len(calls) <= 2
    assert writes._waiting == {}


async def test_the_last_of_several_changes_wins() -> None:
    key = await amake_session()
    await write_all(key, *(Patch(put("name", name)) for name in ("Ann", "Bob", "Cid", "Dan")))
    assert await acontent_of(key) == {"name": "Dan"}


async def test_a_change_that_cannot_be_stored_fails_alone() -> None:
    key = await amake_session()
    results = await write_all(key, Patch(put("a", 1)), Patch(put("b", 2)), Patch(fail), Patch(put("c", 3)))
    assert [result for result in results if result is not True] == [results[2]]
    assert isinstance(results[2], ValueError)
    assert await acontent_of(key) == {"a": 1, "b": 2, "c": 3}


async def test_a_store_out_of_reach_is_asked_once_for_all(calls: list[Any]) -> None:
    key = await amake_session()

    def lose(content: Any) -> None:
        raise OperationalError("away")

    results = await write_all(key, *[Patch(lose)] * 5)
    assert [type(result) for result in results] == [OperationalError] * 5
    assert len(calls) <= 2


async def test_a_session_that_is_gone_is_gone_for_all() -> None:
    assert await write_all("a" * 32, Patch(put("a", 1)), Patch(put("b", 2), is_end=True)) == [False, False]
    assert await acontent_of("a" * 32) is None


async def test_a_caller_that_is_cancelled_stops_no_write() -> None:
    key = await amake_session()
    tasks = [asyncio.create_task(write_patch(key, Patch(put(name, 1)))) for name in "abc"]
    await asyncio.sleep(0)
    tasks[0].cancel()
    assert await asyncio.gather(*tasks[1:]) == [True, True]
    assert tasks[0].cancelled()
    assert await acontent_of(key) == dict.fromkeys("abc", 1)


async def test_options_of_one_change_apply_to_the_write(calls: list[Any]) -> None:
    key = await amake_session()
    end = Patch(put("a", 1), is_end=True)
    await write_all(key, end, end)
    await write_all(key, end, Patch(put("b", 1), prolong=True))
    assert calls[0] == (key, {"prolong": False, "is_end": True})
    assert calls[-1] == (key, {"prolong": True, "is_end": False})


async def test_tenants_share_no_write(calls: list[Any], settings: Any) -> None:
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.cache"  # tests share one connection to the database
    key = await amake_session()

    async def write_for(tenant: str) -> bool:
        tenancy.set_current_tenant(tenant)
        return await write_patch(key, Patch(put(tenant, 1)))

    await asyncio.gather(*(asyncio.create_task(write_for(tenant)) for tenant in ("one", "two")))
    assert len(calls) == 2
