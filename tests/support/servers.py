"""Run real ASGI servers for the tests: daphne and uvicorn in separate processes, on free loopback ports.

Each server binds port 0 by default and logs the port that it was given, so no other program can take the port in
between. The same line shows that it listens. The log is kept in a file: read it with `Server.log`.
"""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

COMMANDS: dict[str, Sequence[str]] = {
    "daphne": ["daphne", "-e", "tcp:port={port}:interface=127.0.0.1:backlog=1024"],
    "uvicorn": ["uvicorn", "--host", "127.0.0.1", "--port", "{port}"],
    "uvicorn-etp": ["uvicorn", "--host", "127.0.0.1", "--port", "{port}", "--ws", "django_etp.uvicorn:Protocol"],
}

# A server whose workers are processes of their own.
SUPERVISORS: dict[str, Sequence[str]] = {
    "gunicorn": [
        *("gunicorn", "--worker-class", "uvicorn_worker.UvicornWorker", "--graceful-timeout", "40"),
        *("--bind", "127.0.0.1:{port}"),
    ],
}

# Messages of a server, asyncio or the interpreter about errors of ours that no test sees. A cleanup task of
# channels_redis, which is never awaited, fails if the broker has just ended.
COMPLAINTS = re.compile(
    ".*(?:Exception inside application|Exception in ASGI application|was never awaited|Task was destroyed"
    r"|was never retrieved(?!\n.*coro=<RedisChannelLayer\._clean_receive_backup\(\))"
    "|took too long to shut down|Exception ignored in|Unhandled exception|Unhandled Error).*"
)

# daphne has the same limit of 1 MiB as django_etp, also for answers, and drops the connection without a close frame.
_RAISED_LIMITS = ["--websocket-max-message-size", "4194304", "--websocket-max-frame-size", "4194304"]

_READY = re.compile(r"(?:running on http://|Listening (?:on TCP address |at: http://))127\.0\.0\.1:(\d+)\s")


class ServerError(Exception):
    """A server process failed; the message ends with its log."""


class Server:
    """One running server process; made by `start_server`."""

    def __init__(self, kind: str, process: subprocess.Popen[bytes], log_path: Path) -> None:
        self.kind = kind
        self.process = process
        self.port = 0
        self._log_path = log_path

    def __repr__(self) -> str:
        return f"<Server {self.kind} pid={self.process.pid} port={self.port}>"

    @property
    def is_daphne(self) -> bool:
        return self.kind == "daphne"

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None

    @property
    def host(self) -> str:
        """The value of a browser's Host header."""
        return f"127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """The stdout and stderr of the process so far."""
        return self._log_path.read_text(errors="replace")

    @property
    def complaints(self) -> list[str]:
        """Lines of the log that no test should leave behind."""
        return COMPLAINTS.findall(self.log)

    def close_code(self, code: int) -> int:
        """Return the code that a peer receives if the application closes with `code`; autobahn allows few codes."""
        return code + 3000 if self.is_daphne and code != 1000 and not 3000 <= code <= 4999 else code

    def ws_url(self, path: str = "/ws/") -> str:
        return f"ws://{self.host}{path}"

    def get(self, path: str, *, timeout: float = 30) -> str:
        """Return the body of an HTTP GET; raise `ServerError` if the status is not 200."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request("GET", path, headers={"Connection": "close"})
            response = connection.getresponse()
            body = response.read().decode()
        finally:
            connection.close()
        if response.status != 200:
            raise self._error(f"GET {path} answered {response.status}: {body[:500]}")
        return body

    def get_json(self, path: str, *, timeout: float = 30) -> Any:
        return json.loads(self.get(path, timeout=timeout))

    def wait_for_log(self, pattern: str | re.Pattern[str], *, timeout: float = 30) -> re.Match[str]:
        """Return the first match in the log; fail if the process ends or `timeout` seconds pass without one."""
        deadline = time.monotonic() + timeout
        while True:
            ended = not self.is_running  # check before reading the log, whose last line may match
            if match := re.search(pattern, self.log):
                return match
            if ended:
                raise self._error(f"ended with {self.process.returncode} before its log said {pattern!r}")
            if time.monotonic() > deadline:
                raise self._error(f"said nothing like {pattern!r} within {timeout} s")
            time.sleep(0.02)

    def pause(self) -> None:
        """Freeze the process (SIGSTOP): its sockets stay open and are not read."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill the process (SIGKILL), like a crash: none of its handlers runs, and the kernel closes its sockets."""
        self.process.kill()
        self.process.wait(timeout=10)

    def stop(self, *, timeout: float = 15) -> None:
        """Send SIGTERM and wait until the process has ended; see wait()."""
        if self.is_running:
            self.resume()  # a stopped process does not handle the signal
            self.process.terminate()
            self.wait(timeout=timeout)

    def wait(self, *, timeout: float = 15) -> None:
        """Wait until the process has ended; after `timeout` seconds kill it and raise.

        The end of the log then contains the stacks of its threads.
        """
        try:
            self.process.wait(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)  # for which Python's faulthandler prints the stacks
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=5)
            self.kill()
            raise self._error(f"had not ended after {timeout} s") from None

    def _error(self, what: str) -> ServerError:
        return ServerError(f"{self!r} {what}\n--- its log ---\n{self.log[-5000:]}")


def raised_limits(kind: str) -> Sequence[str]:
    """Return the `options` that leave the limit on message size to django_etp."""
    return _RAISED_LIMITS if kind == "daphne" else []


@contextmanager
def held_port() -> Iterator[int]:
    """Hold a port for servers of this test, even while none of them runs, so that no other program uses it."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do, so that they can bind it too
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


@contextmanager
def start_server(
    kind: str,
    application: str = "tests.site.asgi:application",
    *,
    env: Mapping[str, str] | None = None,
    settings: Mapping[str, Any] | None = None,
    options: Sequence[str] = (),
    port: int = 0,
) -> Iterator[Server]:
    """Run `application` on a server of this kind, of `COMMANDS` or `SUPERVISORS`, until the block ends.

    `settings` are Django settings for `tests.site.settings`, JSON only; `env` is added to the environment of this
    process; `options` are further arguments of the server's command line; `port` is one from `held_port`, for a server
    that restarts on the same address. The process is ended in any case.
    """
    command = [argument.format(port=port) for argument in {**COMMANDS, **SUPERVISORS}[kind]]
    with start_process(kind, [*command, *options, application], env=env, settings=settings) as server:
        yield server


@contextmanager
def start_process(
    kind: str,
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    settings: Mapping[str, Any] | None = None,
    ready: str | re.Pattern[str] = _READY,
) -> Iterator[Server]:
    """Run `python -m` with `command` until the block ends; it has started when its log matches `ready`.

    A number that `ready` captures is its port. See start_server().
    """
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    environment |= {"PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1"}
    environment |= {"SITE_SETTINGS": json.dumps(dict(settings or {}))} | dict(env or {})
    with tempfile.TemporaryDirectory(prefix="etp-server-") as directory:
        log_path = Path(directory) / "log"
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches the tests only, which end the server
            )
        server = Server(kind, process, log_path)
        try:
            if found := server.wait_for_log(ready).groups():
                server.port = int(found[0])
            yield server
        except BaseException:
            process.kill()
            raise
        finally:
            try:
                server.stop()
            finally:
                process.wait()
