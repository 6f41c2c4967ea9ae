"""``manage.py etp_schema``: print the contract of a namespace, or compare it with an earlier one."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from django_etp.contract.changes import breaking_changes
from django_etp.contract.description import describe
from django_etp.contract.document import from_document, read_contract
from django_etp.contract.formats import to_json, to_yaml
from django_etp.contract.model import Contract, UnreadableContract
from django_etp.contract.typescript import to_typescript

# Exit statuses: of changes that break clients, and of arguments or types that the command cannot use.
_BREAKS, _UNUSABLE = 1, 2


class Command(BaseCommand):
    """Print the contract of a namespace, or compare it with an earlier one."""

    help = "Prints the events and rooms of a namespace as AsyncAPI 3 or for TypeScript, or finds what breaks clients."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the namespace, and what to do with it."""
        parser.add_argument("--namespace", default="default", help="the namespace to describe (default: default)")
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--format", choices=["json", "yaml"], default="json", help="how to write AsyncAPI")
        what.add_argument("--typescript", action="store_true", help="print types for etp.js, as one .d.ts file")
        what.add_argument(
            "--check",
            metavar="FILE",
            help="list what would break clients since this file was written, and exit with 1 if there is any",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Print what was asked for."""
        try:
            contract = describe(options["namespace"])
            earlier = None if options["check"] is None else read_contract(options["check"])
        except UnreadableContract as error:
            raise CommandError(str(error), returncode=_UNUSABLE) from error
        if earlier is not None:
            self._compare(options["check"], earlier, contract)
        elif options["typescript"]:
            self.stdout.write(to_typescript(contract), ending="")
        elif options["format"] == "yaml":
            self.stdout.write(_yaml(contract), ending="")
        else:
            self.stdout.write(to_json(contract))

    def _compare(self, file: str, old: Contract, new: Contract) -> None:
        if old.namespace != new.namespace:
            raise CommandError(
                f"{file} is of the namespace {old.namespace!r}, and compared with {new.namespace!r}. Add --namespace "
                f"{old.namespace}, or take another file.",
                returncode=_UNUSABLE,
            )
        changes = breaking_changes(old, from_document(json.loads(to_json(new))))
        for change in changes:
            self.stdout.write(f"{change[0].upper()}{change[1:]}.")
        if changes:
            raise CommandError(f"Clients that know {file} would break.", returncode=_BREAKS)
        self.stdout.write(f"Nothing breaks clients that know {file}.")


def _yaml(contract: Contract) -> str:
    try:
        return to_yaml(contract)
    except ImportError as error:
        raise CommandError(
            "--format yaml needs PyYAML: pip install 'django-etp[yaml]'. Without it, leave --format out for JSON.",
            returncode=_UNUSABLE,
        ) from error
