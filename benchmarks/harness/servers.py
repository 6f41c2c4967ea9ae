"""The measured processes, servers and senders, each on a core of its own if there are enough cores."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

__all__ = [
    "CLIENT_CORE",
    "PROGRAM",
    "SERVERS",
    "Process",
    "Server",
    "held_port",
    "pin",
    "server_core",
    "start",
    "start_server",
    "wait_until_listening",
]

ROOT = Path(__file__).resolve().parents[2]

_UVICORN = [
    *("uvicorn", "--host", "127.0.0.1", "--port", "{port}", "--backlog", "4096", "--log-level", "warning"),
    *("--ws-ping-interval", "3600", "--ws-ping-timeout", "3600", "--lifespan", "off"),
]

# Each is named for the package that it needs. They send no pings, which would cost some contenders more than others.
SERVERS: dict[str, Sequence[str]] = {
    "daphne": [
        *("daphne", "--verbosity", "0", "--ping-interval", "3600", "--ping-timeout", "3600"),
        *("--websocket-max-message-size", "4194304", "--websocket-max-frame-size", "4194304"),
        *("--endpoint", "tcp:port={port}:interface=127.0.0.1:backlog=4096"),
    ],
    "uvicorn": [*_UVICORN, "--ws", "websockets-sansio"],
    "django_etp.uvicorn": [*_UVICORN, "--ws", "django_etp.uvicorn:Protocol"],
    "granian": [
        *("granian", "--interface", "asginl", "--host", "127.0.0.1", "--port", "{port}", "--no-log"),
        *("--workers", "1", "--loop", "uvloop", "--backlog", "4096"),
    ],
    "hypercorn": [
        *("hypercorn", "--bind", "127.0.0.1:{port}", "--backlog", "4096", "--worker-class", "uvloop"),
        *("--log-level", "warning"),
    ],
}

# A server that is a program of its own. Its argument is the address.
PROGRAM = "program"

_PAGE = os.sysconf("SC_PAGE_SIZE")
_START_LIMIT = 30.0

_cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
# The load client and the broker use the last core, and servers the cores before it.
CLIENT_CORE = _cores[-1] if _cores else None


def server_core(number: int = 0) -> int | None:
    """Return the core of a server, by its number from 0 up."""
    before_last = _cores[:-1] or _cores
    return before_last[number % len(before_last)] if _cores else None


def pin(core: int | None, process: int = 0) -> None:
    """Keep a process, by default this one, on one core, if the platform can."""
    if core is not None:
        os.sched_setaffinity(process, {core})


class Process:
    """One running process."""

    def __init__(self, popen: "subprocess.Popen[bytes]", log: Path) -> None:
        self.popen = popen
        self._log = log

    @property
    def resident(self) -> int:
        """Its memory in bytes; 0 if the platform does not report it."""
        with suppress(OSError):
            return int(Path(f"/proc/{self.popen.pid}/statm").read_text().split()[1]) * _PAGE
        return 0

    @property
    def seconds(self) -> float:
        """Its processor time in seconds; 0 if the platform does not report it."""
        with suppress(OSError):
            return time.clock_gettime(~self.popen.pid << 3 | 2)  # Linux's clock of another process, see clock_getres(2)
        return 0.0

    def fail(self, what: str) -> RuntimeError:
        """Return an error with the end of the log."""
        return RuntimeError(f"{what}\n--- its log ---\n{self._log.read_text(errors='replace')[-4000:]}")

    def stop(self) -> None:
        """End the process with SIGTERM, and after 5 s with SIGKILL."""
        self.popen.send_signal(signal.SIGTERM)
        try:
            self.popen.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()


@contextmanager
def start(
    command: Sequence[str], core: int | None, env: Mapping[str, str] | None = None, **options: Any
) -> Iterator[Process]:
    """Run a command on a core until the block ends."""
    with tempfile.TemporaryDirectory(prefix="etp-bench-") as directory:
        log = Path(directory) / "log"
        with log.open("wb") as output:
            options = {"stdin": subprocess.DEVNULL, "stdout": output} | options
            popen = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, "DJANGO_SETTINGS_MODULE": "benchmarks.contenders.site.settings", **(env or {})},
                stderr=output,
                **options,
            )
        pin(core, popen.pid)
        process = Process(popen, log)
        try:
            yield process
        finally:
            process.stop()


class Server:
    """One running ASGI server."""

    def __init__(self, process: Process, port: int) -> None:
        self.process = process
        self.port = port


@contextmanager
def start_server(kind: str, application: str, core: int | None, env: Mapping[str, str]) -> Iterator[Server]:
    """Run an application on a server of this kind, one of SERVERS, or as a PROGRAM, until the block ends."""
    with ExitStack() as stack:
        port = stack.enter_context(held_port())
        if kind == PROGRAM:
            command = [application, f"127.0.0.1:{port}"]
            env = {**env, "GOMAXPROCS": "1"}  # Go counts the cores before it is pinned to one
        else:
            command = [sys.executable, "-m", *(argument.format(port=port) for argument in SERVERS[kind]), application]
        process = stack.enter_context(start(command, core, env))
        wait_until_listening(process, port)
        yield Server(process, port)


@contextmanager
def held_port() -> Iterator[int]:
    """Hold a free port that a server can bind too, so that no other program gets it."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


def wait_until_listening(process: Process, port: int) -> None:
    """Wait until a process accepts connections on a port."""
    deadline = time.monotonic() + _START_LIMIT
    while time.monotonic() < deadline:
        if process.popen.poll() is not None:
            raise process.fail(f"A server ended with {process.popen.returncode} before it listened.")
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise process.fail(f"A server did not listen within {_START_LIMIT:g} s.")
