"""Everybody writes one session at once, and sessions end while they are written: real servers, real databases."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.peers import eventually
from tests.support.postgres import start_postgres
from tests.support.servers import start_server
from tests.support.session_hammer import hammer, logged_in
from tests.support.stored import WITH_LOCK
from tests.support.visitors import copy_sqlite, make_sqlite, run_django, settings_for, sqlite

Database = Callable[[Path], dict[str, Any]]


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """Gives the settings for a database with all tables."""
    if request.param == "sqlite":
        made = tmp_path_factory.mktemp("races") / "made.sqlite3"
        make_sqlite(made)
        yield lambda folder: copy_sqlite(made, folder / "db.sqlite3")
    else:
        with start_postgres() as settings:
            run_django(settings_for(settings), "migrate", "-v0")
            yield lambda folder: settings


@pytest.mark.parametrize("engine", WITH_LOCK)
async def test_nothing_is_lost_where_sockets_and_requests_write_at_once(
    database: Database, engine: str, tmp_path: Path
) -> None:
    with start_server("uvicorn", settings=settings_for(database(tmp_path), engine)) as server:
        outcome = await hammer(await logged_in(server), rounds=60)
        assert server.complaints == []
    assert outcome.lost_by_browser == outcome.lost_by_sockets == 0
    assert outcome.session["cart"] == list(range(60))
    assert len(json.loads(outcome.session["_messages"])) == 60
    assert outcome.session["_auth_user_hash"]
    assert outcome.session["_auth_user_id"]


@pytest.mark.parametrize("engine", ["cache", "file"])
async def test_engines_without_a_lock_keep_the_login_and_what_sockets_write(engine: str, tmp_path: Path) -> None:
    make_sqlite(tmp_path / "db.sqlite3")
    settings = settings_for(sqlite(tmp_path / "db.sqlite3"), engine, SESSION_FILE_PATH=str(tmp_path))
    with start_server("uvicorn", settings=settings) as server:
        outcome = await hammer(await logged_in(server), rounds=30)
    assert outcome.lost_by_sockets == 0
    assert outcome.session["_auth_user_hash"]
    assert outcome.session["cart"]


@pytest.mark.parametrize("engine", WITH_LOCK)
def test_a_session_that_ends_while_it_is_written_never_comes_back(
    database: Database, engine: str, tmp_path: Path
) -> None:
    settings = settings_for(database(tmp_path), engine)
    said = json.loads(run_django(settings, "-m", "tests.site.race_sessions", "1000"))
    assert said.pop("written first", 0) + said.pop("ended first", 0) == 1000
    assert said == {"left": 0}


async def test_an_old_copy_that_a_request_saved_is_mended_within_30_seconds(tmp_path: Path) -> None:
    make_sqlite(tmp_path / "db.sqlite3")
    with start_server("uvicorn", settings=settings_for(sqlite(tmp_path / "db.sqlite3"))) as server:
        visitor = await logged_in(server)
        async with visitor.socket("?name=Ann") as socket:
            id = await socket.ask("id")
            await visitor.post("forget", key="etp")
            assert "etp" not in await visitor.post("session")
            session = await eventually(
                lambda: visitor.post("session"), lambda session: "etp" in session, timeout=30, interval=0.5
            )
            assert session["etp"] == {id: {"name": "Ann"}}
