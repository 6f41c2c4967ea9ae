"""``manage.py etp_outbox``: show the durable events that wait or failed, and send or discard those that failed."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error
from django.db.models import QuerySet
from django.utils.timesince import timesince

from django_etp.exceptions import describe
from django_etp.outbox.models import OutboxEvent
from django_etp.outbox.rows import databases, discard, failed, retry, summarize

# How many failed events are listed by default.
_LISTED = 50


class Command(BaseCommand):
    """Show the outbox, or change what failed in it."""

    help = (
        "Shows how many durable events wait in each database, how old the oldest is, and the events that could not be "
        "sent in 20 attempts. Those are kept until --retry or --discard."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add --database, --retry, --discard and --all."""
        parser.add_argument("--database", metavar="ALIAS", help="this database only")
        parser.add_argument(
            "--retry", nargs="*", type=int, metavar="ID", help="send failed events again: all, or those of these ids"
        )
        parser.add_argument(
            "--discard", nargs="*", type=int, metavar="ID", help="remove failed events: all, or those of these ids"
        )
        parser.add_argument("--all", action="store_true", help=f"list all failed events, not the first {_LISTED} only")

    def handle(self, *args: Any, **options: Any) -> None:
        """Show or change each database's outbox."""
        known = databases()
        if options["database"] not in (None, *known):
            raise CommandError(f"Expected one of the databases {', '.join(known)}, got {options['database']!r}.")
        if options["retry"] is not None and options["discard"] is not None:
            raise CommandError("Pass --retry or --discard, not both.")
        chosen = [options["database"]] if options["database"] else known
        ids = options["retry"] or options["discard"] or []
        if ids and len(chosen) > 1:
            raise CommandError("Ids belong to one database: pass --database, too.")
        for using in chosen:
            try:
                if options["retry"] is not None:
                    self._change(using, "will be sent again", failed(using, ids), ids, retry)
                elif options["discard"] is not None:
                    self._change(using, "were discarded", failed(using, ids), ids, discard)
                else:
                    self._show(using, limit=None if options["all"] else _LISTED)
            except Error as error:
                raise CommandError(
                    f"The outbox of the database {using!r} cannot be used: {describe(error)}. If its tables are "
                    f"missing, run manage.py migrate --database {using}."
                ) from error

    def _change(self, using: str, done: str, rows: QuerySet[OutboxEvent], ids: list[int], change: Any) -> None:
        if missing := sorted(set(ids) - set(rows.values_list("id", flat=True))):
            raise CommandError(
                f"No failed events with the ids {', '.join(map(str, missing))} in the database {using!r}; nothing was "
                "changed."
            )
        self.stdout.write(f"{using}: {change(rows)} failed events {done}.")

    def _show(self, using: str, limit: int | None) -> None:
        found = summarize(using)
        age = f", the oldest for {found.lag.total_seconds():.1f} s" if found.waiting else ""
        retried = f", {found.retried} of them after failures" if found.retried else ""
        self.stdout.write(f"{using}: {found.waiting} events wait{age}{retried}; {found.failed} failed.")
        for row in failed(using)[:limit]:
            self.stdout.write(
                f"  {row.pk}  {row.event!r:.80} to {', '.join(row.room_names):.120}, stored "
                f"{timesince(row.created_at)} ago, {row.attempts} attempts: {row.error}"
            )
        if limit is not None and found.failed > limit:
            self.stdout.write(f"  … and {found.failed - limit} more; --all lists them.")
