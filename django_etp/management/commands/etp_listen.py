"""``manage.py etp_listen URL``: prints the events that an ETP server sends, for debugging."""

import asyncio
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from django_etp.closing import Disconnect
from django_etp.exceptions import EtpError
from django_etp.protocol import Event

if TYPE_CHECKING:
    from django_etp.client import EtpClient


class Command(BaseCommand):
    """Connect to an ETP server and print what comes."""

    help = "Connects to an ETP server and prints each event it sends, until Ctrl-C. Needs the extra 'client'."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the URL, and what a handshake may need."""
        parser.add_argument("url", help="where to, such as ws://localhost:8000/ws/")
        parser.add_argument("--origin", help="the Origin header of the handshake")
        parser.add_argument("--cookie", action="append", default=[], metavar="NAME=VALUE", help="a cookie; may repeat")
        parser.add_argument("--header", action="append", default=[], metavar="NAME:VALUE", help="a header; may repeat")
        parser.add_argument(
            "--emit", action="append", default=[], metavar="EVENT[=DATA]", help="an event to send first"
        )
        parser.add_argument("--count", type=int, help="end after so many events")

    def handle(self, *args: Any, **options: Any) -> None:
        """Listen until Ctrl-C, or until the server ends it for good."""
        try:
            from django_etp.client import CONNECT_ERRORS, EtpClient
        except ImportError as error:
            raise CommandError("etp_listen needs websockets: pip install 'django-etp[client]'") from error
        cookies = dict(_pair(text, "=") for text in options["cookie"])
        headers = [_pair(text, ":") for text in options["header"]]
        try:
            client = EtpClient(options["url"], origin=options["origin"], cookies=cookies, headers=headers)
            with suppress(KeyboardInterrupt):
                asyncio.run(self._listen(client, options["emit"], options["count"]))
        except (*CONNECT_ERRORS, EtpError) as error:
            raise CommandError(f"No connection to the server: {error}") from error

    async def _listen(self, client: "EtpClient", emits: list[str], count: int | None) -> None:
        left = count

        @client.on_unknown_event
        async def show(event: Event) -> None:
            nonlocal left
            self._say(f"{event.name} {event.data}" + (f"  (wants answer {event.ack_id})" if event.ack_id else ""))
            if left is not None:
                left -= 1
                if left <= 0:
                    await client.close()

        @client.on_connect
        async def connected() -> None:
            self._say("connected")
            for text in emits:
                name, _, data = text.partition("=")
                await client.emit(name, data or None)

        @client.on_disconnect
        def disconnected(disconnect: Disconnect) -> None:
            self._say(f"disconnected: {disconnect.code} {disconnect.reason}".rstrip())

        async with client:
            await client.wait_closed()

    def _say(self, text: str) -> None:
        self.stdout.write(f"{datetime.now():%H:%M:%S} {text}")
        self.stdout.flush()


def _pair(text: str, separator: str) -> tuple[str, str]:
    name, found, value = text.partition(separator)
    if not found:
        raise CommandError(f"Expected a name and a value with {separator!r} between them, got {text!r}.")
    return name.strip(), value.strip()
