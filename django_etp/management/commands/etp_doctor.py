"""``manage.py etp_doctor [URL]``: examine a deployment, and name its problems."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from django_etp.doctor.report import has_failed, summary, to_json, to_lines


class Command(BaseCommand):
    """Examine a deployment from outside, or without a URL from inside."""

    help = (
        "Examines a deployment through its public address, as a browser uses it, and names what is wrong; without an "
        "address what shows from inside: the settings, the broker and the processes that it reaches. Exits with 1 if "
        "something is wrong. Run it with the settings of the servers. Needs the extra 'client'."
    )
    requires_system_checks = ()  # they are among the findings

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the URL, the credentials of the connections, and the limits of the examination."""
        parser.add_argument("url", nargs="?", help="the socket's address, such as wss://example.com/ws/")
        parser.add_argument("--origin", help="the origin of the site's pages (default: the host of the URL)")
        parser.add_argument(
            "--cookie", action="append", default=[], metavar="NAME=VALUE", help="a cookie, such as that of a login"
        )
        parser.add_argument(
            "--user", metavar="USERNAME", help="a user to connect as, by a session that is then removed"
        )
        parser.add_argument("--token", help="a token, for clients that log in with TokenAuthMiddleware")
        parser.add_argument(
            "--idle", type=float, default=30.0, metavar="SECONDS", help="how long a quiet connection must last; 0: skip"
        )
        parser.add_argument(
            "--timeout", type=float, default=10.0, metavar="SECONDS", help="how long each step may take (default: 10)"
        )
        parser.add_argument("--load", type=int, default=0, metavar="N", help="open N connections at a time, and ping")
        parser.add_argument("--json", action="store_true", help="print the findings as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        """Examine, print each finding, and fail if something is wrong."""
        try:
            from django_etp.doctor.examination import run
            from django_etp.doctor.target import InvalidTarget
        except ImportError as error:
            raise CommandError("etp_doctor needs websockets: install django-etp with its extra 'client'.") from error
        try:
            findings = run(
                options["url"],
                origin=options["origin"],
                cookies=dict(_pair(text) for text in options["cookie"]),
                user=options["user"],
                token=options["token"],
                idle=options["idle"],
                timeout=options["timeout"],
                load=options["load"],
                show=lambda finding: None if options["json"] else self._show(to_lines(finding)),
            )
        except InvalidTarget as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            self._show(to_json(findings, options["url"]))
        if has_failed(findings):
            raise CommandError(f"Something is wrong: {summary(findings)}.")
        if not options["json"]:
            self._show(f"Nothing is wrong: {summary(findings)}.")

    def _show(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()


def _pair(text: str) -> tuple[str, str]:
    name, found, value = text.partition("=")
    if not found:
        raise CommandError(f"Expected a cookie as NAME=VALUE, got {text!r:.80}.")
    return name.strip(), value.strip()
