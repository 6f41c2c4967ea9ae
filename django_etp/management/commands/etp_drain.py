"""``manage.py etp_drain``: let the server processes of this machine or container drain, and wait until they have."""

import socket
import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from django_etp.conf import get_settings
from django_etp.exceptions import EtpError, IncompleteAnswer
from django_etp.hub.process import process_hub
from django_etp.rooms.calls import Calls
from django_etp.server.drain import DrainHost

__all__ = ["Command"]

# In seconds. After three heartbeats this process knows each server process.
_DISCOVERY = 6.0
_ASK_EVERY = 0.25
# How long connections may take to end beyond the settings DRAIN_SECONDS and DISCONNECT_GRACE.
_MARGIN = 10.0


class Command(BaseCommand):
    """Drain the server processes of this machine or container."""

    help = (
        "Lets the server processes on this machine, or in this container, refuse new connections and close those they "
        "have, spread over ETP['DRAIN_SECONDS'], and returns when they have ended. The processes go on; end them next."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add --pid and --timeout."""
        parser.add_argument(
            "--pid", type=int, default=0, help="Drain only this process, or the workers that it started."
        )
        parser.add_argument(
            "--timeout",
            type=float,
            help=f"How long it may take, in seconds; by default DRAIN_SECONDS, DISCONNECT_GRACE and {_MARGIN:g} more.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Ask the processes to drain until none of them has a connection."""
        settings = get_settings()
        if not settings.drain_seconds:
            raise CommandError("ETP['DRAIN_SECONDS'] is 0, so no process drains. Set it for the servers and for this.")
        if process_hub() is None:
            raise CommandError(
                "The channel layer does not span processes, so this command cannot reach the server. Send the server "
                "SIGTERM: it drains before it ends."
            )
        timeout = options["timeout"]
        if timeout is None:
            timeout = settings.drain_seconds + settings.disconnect_grace + _MARGIN
        self._query = DrainHost("", socket.gethostname(), options["pid"])
        begun_at = time.monotonic()
        left = self._find(begun_at)
        if not left:
            self.stdout.write(
                f"No server process {self._where(options)} has a connection, so there is nothing to drain."
            )
            return
        self.stdout.write(f"Draining {len(left)} processes with {sum(left.values())} connections.")
        while any(left.values()):
            if time.monotonic() - begun_at > timeout:
                raise CommandError(f"After {timeout:g} s {sum(left.values())} connections have not ended.")
            time.sleep(_ASK_EVERY)
            left = self._ask(left)
        self.stdout.write(f"Drained in {time.monotonic() - begun_at:.1f} s.")

    def _find(self, begun_at: float) -> dict[int, int]:
        """Return the processes with their connections. A busy one may miss the first questions."""
        while not (left := self._ask({})) and time.monotonic() - begun_at < _DISCOVERY:
            time.sleep(_ASK_EVERY)
        return left

    def _ask(self, last: dict[int, int]) -> dict[int, int]:
        """Ask all; a process that has not replied in time has as many connections as before."""
        try:
            return Calls("").ask("etp_drain", self._query, None)
        except IncompleteAnswer as error:
            known = error.answer if isinstance(error.answer, dict) else {}
            return {**last, **known}
        except EtpError as error:
            raise CommandError(f"The server processes cannot be reached: {error}") from error

    def _where(self, options: dict[str, Any]) -> str:
        return f"with the id {options['pid']}" if options["pid"] else f"on {socket.gethostname()}"
