"""``manage.py etp_clear_data``: removes connection data that dead processes left in the stored sessions."""

import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from django_etp import rooms
from django_etp.exceptions import EtpError
from django_etp.hub.process import process_hub
from django_etp.sessions.storage import remove_data, sessions_with_data

# Three heartbeats, in seconds.
_ALL_ARE_HEARD_OF_AFTER = 6.0


class Command(BaseCommand):
    """Clear what connections of dead processes left behind."""

    help = (
        "Removes connection data from stored sessions where the connection is gone. A process that ends in order "
        "removes its own, and the next socket of a session removes what is left there; this clears the rest."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add --all."""
        parser.add_argument(
            "--all",
            action="store_true",
            help="Remove the data of all connections. Only while no server runs: living connections lose theirs in "
            "the stored session until they write it again.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Ask all processes which connections live, and remove the data of the others."""
        # First what is there, then who lives: whoever comes in between is not among what was there.
        stored = list(sessions_with_data())
        living = set() if options["all"] else self._living()
        cleared = 0
        for key, ids in stored:
            if gone := ids - living:
                cleared += len(gone) if remove_data(key, gone) else 0
        self.stdout.write(f"Removed the data of {cleared} connections that are gone.")

    def _living(self) -> set[str]:
        if process_hub() is None:
            raise CommandError(
                "The channel layer does not span processes, so nobody can tell which connections live. Stop the "
                "server and pass --all."
            )
        try:
            if living := rooms.connection_ids():
                return set(living)
            # A server that is busy may not have heard the question, but is heard of by then, and must answer.
            time.sleep(_ALL_ARE_HEARD_OF_AFTER)
            return set(rooms.connection_ids())
        except EtpError as error:
            raise CommandError(
                f"Not every process said which connections live, so nothing was removed: {error}"
            ) from error
