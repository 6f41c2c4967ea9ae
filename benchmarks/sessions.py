"""A database with one stored session, for connections that change what they keep there."""

import os
import subprocess
import sys
from pathlib import Path

from .processes import ROOT

__all__ = ["COOKIE", "make_database"]

_KEY = "benchmarksbenchmarksbenchmarks00"
# A line of the handshake that names the session.
COOKIE = f"Cookie: sessionid={_KEY}\r\n"

_CODE = f"""
import django
django.setup()
from django.contrib.sessions.backends.db import SessionStore
from django.core.management import call_command
call_command("migrate", verbosity=0)
session = SessionStore({_KEY!r})
session["visits"] = 1
session.save(must_create=True)
"""


def make_database(path: Path) -> None:
    """Make the database, in another process: this one loads no Django."""
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "benchmarks.settings", "BENCHMARK_DATABASE": str(path)}
    subprocess.run([sys.executable, "-c", _CODE], cwd=ROOT, env=env, check=True)
