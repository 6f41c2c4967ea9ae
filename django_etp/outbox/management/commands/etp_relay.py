"""``manage.py etp_relay``: relay durable events, in a process of its own."""

import signal
from types import FrameType
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from django_etp.hub.process import process_hub
from django_etp.outbox.relay import Relay
from django_etp.outbox.rows import databases


class Command(BaseCommand):
    """Relay durable events until SIGTERM or Ctrl-C."""

    help = (
        "Relays durable events until SIGTERM or Ctrl-C. Server processes relay as well; one process at a time does so "
        "for each database, and another one takes over if it ends."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add --database."""
        parser.add_argument(
            "--database", action="append", metavar="ALIAS", help="relay for this database only; may repeat"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Relay until a signal comes."""
        known = databases()
        for using in options["database"] or ():
            if using not in known:
                raise CommandError(f"Expected one of the databases {', '.join(known)}, got {using!r}.")
        if process_hub() is None:
            raise CommandError(
                "The channel layer does not span processes, so this command can reach no connection. The server relays "
                "durable events by itself. To relay here, use a layer such as channels-redis."
            )
        relays = [Relay(using, process_hub) for using in options["database"] or known]

        def stop(number: int, frame: FrameType | None) -> None:
            for relay in relays:
                relay.stop()

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, stop)
        for relay in relays:
            relay.start()
        self.stdout.write(f"Relaying durable events of the database {', '.join(options['database'] or known)}.")
        self.stdout.flush()
        for relay in relays:
            relay.ended.result()
