"""A database with one stored session of a logged-in user."""

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.harness.servers import ROOT

__all__ = ["COOKIE", "make_database"]

_KEY = "benchmarksbenchmarksbenchmarks00"
# A line of the handshake that names the session.
COOKIE = f"Cookie: sessionid={_KEY}\r\n"

_CODE = f"""
import django
django.setup()
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.contrib.sessions.backends.db import SessionStore
from django.core.management import call_command
call_command("migrate", verbosity=0)
session = SessionStore({_KEY!r})
user = get_user_model().objects.create_user("benchmarks")
session[SESSION_KEY] = str(user.pk)
session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
session[HASH_SESSION_KEY] = user.get_session_auth_hash()
session.save(must_create=True)
"""


def make_database(path: Path) -> None:
    """Make the database in another process, because this one does not load Django."""
    env = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "benchmarks.contenders.site.settings",
        "BENCHMARK_DATABASE": str(path),
    }
    subprocess.run([sys.executable, "-c", _CODE], cwd=ROOT, env=env, check=True)
