"""``manage.py etp_clear_data``: remove connection data that crashed processes left in stored sessions."""

import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from django_etp import rooms, tenancy
from django_etp.exceptions import EtpError
from django_etp.hub.process import process_hub
from django_etp.sessions.listing import sessions_with_data
from django_etp.sessions.storage import remove_data

# Three heartbeats, in seconds: after that this process knows each server process.
_DISCOVERY = 6.0


class Command(BaseCommand):
    """Remove the data of connections that no longer exist."""

    help = (
        "Removes connection data from stored sessions if the connection no longer exists. A process that ends in order "
        "removes its own data, and the next socket of a session removes data left there; this command removes the rest."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add --all."""
        parser.add_argument(
            "--all",
            action="store_true",
            help="Remove the data of all connections. Use it only while no server runs: a living connection's data is "
            "missing in the stored session until the connection writes it again.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Ask all processes for their connections, and remove the data of all others."""
        # The sessions are read first: a connection that comes after that has no data among what was read.
        stored = {schema: self._sessions_with_data(schema) for schema in tenancy.all_schemas()}
        living = set() if options["all"] else self._living()
        removed = 0
        for schema, sessions in stored.items():
            with tenancy.use_schema(schema):
                for key, ids in sessions.items():
                    if gone := ids - living:
                        removed += len(gone) if remove_data(key, gone) else 0
        self.stdout.write(f"Removed the data of {removed} connections that are gone.")

    def _sessions_with_data(self, schema: str) -> dict[str, set[str]]:
        with tenancy.use_schema(schema):
            stored = sessions_with_data()
        if stored is None:
            raise CommandError(
                "This session engine cannot list its sessions; only db and cached_db can. Data left behind in other "
                "engines is removed by the next socket of its session, or when the session expires."
            )
        return stored

    def _living(self) -> set[str]:
        if process_hub() is None:
            raise CommandError(
                "The channel layer does not span processes, so this command cannot ask the server which connections "
                "are alive. Stop the server and pass --all."
            )
        try:
            if living := rooms.connection_ids():
                return set(living)
            # A busy server may have missed the query. After this pause its heartbeats are known, and it must reply.
            time.sleep(_DISCOVERY)
            return set(rooms.connection_ids())
        except EtpError as error:
            raise CommandError(f"Not every process listed its connections, so nothing was removed: {error}") from error
