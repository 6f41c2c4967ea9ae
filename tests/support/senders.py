"""Processes that emit numbered "burst" events, and what members received of them."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django_etp import rooms
from tests.site.exercise import NAMESPACE
from tests.support.crowd import texts
from tests.support.servers import ROOT


class Sender:
    """A process that sends; made by `start_sender`."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._printed = b""
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    @property
    def printed(self) -> list[Any]:
        """The values that it printed so far."""
        assert self._process.stdout is not None
        while piece := self._process.stdout.read():
            self._printed += piece
        return [json.loads(line) for line in self._printed.splitlines(keepends=True) if line.endswith(b"\n")]

    @property
    def raised(self) -> dict[str, float]:
        """The events of its emits that raised, and after how many seconds."""
        return dict(line for line in self.printed if isinstance(line, list))

    def end_input(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()

    def kill(self) -> None:
        self._process.kill()


@contextmanager
def start_sender(settings: dict[str, Any], *arguments: str) -> Iterator[Sender]:
    """Run `python -m` with these arguments, and Django settings of servers, until the block ends."""
    with subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "tests.site.settings", "SITE_SETTINGS": json.dumps(settings)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        yield Sender(process)


def heard(received: bytes | bytearray) -> list[str]:
    """Return the data of the "burst" events in what a server sent."""
    return [text.removeprefix("burst||0||") for text in texts(received) if text.startswith("burst||")]


def by_sender(events: Sequence[str]) -> dict[str, list[int]]:
    """Return the numbers that came from each sender, in order."""
    numbers: dict[str, list[int]] = {}
    for event in events:
        sender, _, number = event.partition(":")
        numbers.setdefault(sender, []).append(int(number))
    return numbers


def group(room: str) -> str:
    return rooms.of(NAMESPACE).group_name(room)
