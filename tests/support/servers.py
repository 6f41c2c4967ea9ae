"""Real ASGI servers for the tests: daphne and uvicorn as processes of their own on free loopback ports.

Each server binds port 0, unless told otherwise, and says in its log which port it got, so nothing can take the port in
between, and the line also says that it listens. The log is kept in a file: read it with `Server.log`.
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
    "uvicorn-sansio": ["uvicorn", "--host", "127.0.0.1", "--port", "{port}", "--ws", "websockets-sansio"],
}

# What a server, asyncio or the interpreter writes when something of ours went wrong behind everyone's back. A task of
# channels_redis that tidies up after it has received is awaited by nobody, and fails where the broker just went.
COMPLAINTS = re.compile(
    ".*(?:Exception inside application|Exception in ASGI application|was never awaited|Task was destroyed"
    r"|was never retrieved(?!\n.*coro=<RedisChannelLayer\._clean_receive_backup\(\))"
    "|took too long to shut down|Exception ignored in|Unhandled exception|Unhandled Error).*"
)

# daphne counts 1 MiB like django_etp does, but answers too, and then drops the connection without a close frame.
_RAISED_LIMITS = ["--websocket-max-message-size", "4194304", "--websocket-max-frame-size", "4194304"]

_READY = re.compile(r"(?:running on http://|Listening on TCP address )127\.0\.0\.1:(\d+)\s")


class ServerError(Exception):
    """A server process did not do what was asked of it; the message ends with its log."""


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
        """What a browser would send in its Host header."""
        return f"127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """All that the process wrote to stdout and stderr so far."""
        return self._log_path.read_text(errors="replace")

    @property
    def complaints(self) -> list[str]:
        """Lines of the log that no test should leave behind."""
        return COMPLAINTS.findall(self.log)

    def close_code(self, code: int) -> int:
        """Return what a peer sees where the application closes with `code`: autobahn lets apps send few codes."""
        return code + 3000 if self.is_daphne and code != 1000 and not 3000 <= code <= 4999 else code

    def ws_url(self, path: str = "/ws/") -> str:
        return f"ws://{self.host}{path}"

    def get(self, path: str, *, timeout: float = 30) -> str:
        """Return the body of an HTTP GET; anything but 200 is a `ServerError`."""
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
        """Return the first match in the log; fail when the process ends or `timeout` seconds pass without one."""
        deadline = time.monotonic() + timeout
        while True:
            ended = not self.is_running  # asked before the log is read: a last line may still say it
            if match := re.search(pattern, self.log):
                return match
            if ended:
                raise self._error(f"ended with {self.process.returncode} before its log said {pattern!r}")
            if time.monotonic() > deadline:
                raise self._error(f"said nothing like {pattern!r} within {timeout} s")
            time.sleep(0.02)

    def pause(self) -> None:
        """Freeze the process (SIGSTOP): its sockets stay open, nobody reads them."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End the process as a crash would (SIGKILL): no handler of it runs, the kernel closes its sockets."""
        self.process.kill()
        self.process.wait(timeout=10)

    def stop(self, *, timeout: float = 15) -> None:
        """End the process with SIGTERM, and wait for that; see wait()."""
        if self.is_running:
            self.resume()  # a stopped process does not see the signal
            self.process.terminate()
            self.wait(timeout=timeout)

    def wait(self, *, timeout: float = 15) -> None:
        """Wait until the process has ended; one that is still there after `timeout` seconds is killed, and that raises.

        Where its threads were then is at the end of its log.
        """
        try:
            self.process.wait(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)  # which Python's faulthandler answers
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=5)
            self.kill()
            raise self._error(f"had not ended after {timeout} s") from None

    def _error(self, what: str) -> ServerError:
        return ServerError(f"{self!r} {what}\n--- its log ---\n{self.log[-5000:]}")


def raised_limits(kind: str) -> Sequence[str]:
    """Return the `options` that leave judging the size of a message to django_etp."""
    return _RAISED_LIMITS if kind == "daphne" else []


@contextmanager
def held_port() -> Iterator[int]:
    """Keep a port for servers of this test, also while none of them runs: nobody else gets it, nobody answers on it."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do, so that they may bind it too
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
    """Run `application` on a server of this kind, one of `COMMANDS`, until the block ends.

    `settings` are Django settings for `tests.site.settings`, JSON only; `env` is added to the environment of this
    process; `options` are further arguments of the server's command line; `port` is one from `held_port`, for a server
    that is to come back under the same address. The process is ended in any case.
    """
    command = [argument.format(port=port) for argument in COMMANDS[kind]]
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
    """Run `python -m` with `command` until the block ends; it is there once its log says `ready`. See start_server().

    A number that `ready` captures is its port.
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
                start_new_session=True,  # Ctrl-C ends the tests, and they end the server
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
