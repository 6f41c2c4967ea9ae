"""``manage.py etp_listen URL``: print the events that an ETP server sends, for debugging."""

import asyncio
import math
import os
import sys
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from django_etp.exceptions import EtpError, InvalidEventName
from django_etp.protocol import Event, check_event_name
from django_etp.protocol.closing import Disconnect
from django_etp.quoting import escape, one_line

if TYPE_CHECKING:
    from django_etp.client import EtpClient


class Command(BaseCommand):
    """Connect to an ETP server and print its events."""

    help = "Connects to an ETP server and prints each event it sends, until Ctrl-C. Needs the extra 'client'."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the URL, the options of the handshake, the events to send and the count."""
        parser.add_argument("url", help="the server's address, such as ws://localhost:8000/ws/")
        parser.add_argument("--origin", help="the Origin header of the handshake")
        parser.add_argument("--cookie", action="append", default=[], metavar="NAME=VALUE", help="a cookie; may repeat")
        parser.add_argument("--header", action="append", default=[], metavar="NAME:VALUE", help="a header; may repeat")
        parser.add_argument(
            "--emit", action="append", default=[], metavar="EVENT[=DATA]", help="an event to send first"
        )
        parser.add_argument("--count", type=int, help="end after this many events")

    def handle(self, *args: Any, **options: Any) -> None:
        """Listen until Ctrl-C, until the count is reached, or until the server ends the connection for good."""
        try:
            from django_etp.client import CONNECT_ERRORS, EtpClient
        except ImportError as error:
            raise CommandError("etp_listen needs websockets: install django-etp with its extra 'client'.") from error
        if options["count"] is not None and options["count"] < 1:
            raise CommandError(f"Expected a count of 1 or more, got {options['count']}.")
        cookies = dict(_pair(text, "=") for text in options["cookie"])
        headers = [_pair(text, ":") for text in options["header"]]
        emits = [_event(text) for text in options["emit"]]
        try:
            client = EtpClient(options["url"], origin=options["origin"], cookies=cookies, headers=headers)
            with suppress(KeyboardInterrupt):
                asyncio.run(self._listen(client, emits, options["count"]))
        except (*CONNECT_ERRORS, EtpError) as error:
            raise CommandError(f"No connection to the server: {one_line(str(error), 500)}") from error

    async def _listen(self, client: "EtpClient", emits: list[tuple[str, str | None]], count: int | None) -> None:
        left = math.inf if count is None else count

        @client.on_unknown_event
        async def show(event: Event) -> None:
            nonlocal left
            if left <= 0:
                return  # it was received together with the last event to print
            wish = f"  (wants answer {event.ack_id})" if event.ack_id else ""
            await self._print(client, f"{event.name} {event.data}{wish}")
            left -= 1
            if left <= 0:
                await client.close()

        @client.on_connect
        async def connected() -> None:
            await self._print(client, "connected")
            for name, data in emits:
                await client.emit(name, data)

        @client.on_disconnect
        async def disconnected(disconnect: Disconnect) -> None:
            await self._print(client, f"disconnected: {disconnect.code} {disconnect.reason}".rstrip())

        async with client:
            await client.wait_closed()

    async def _print(self, client: "EtpClient", text: str) -> None:
        try:
            self.stdout.write(f"{datetime.now():%H:%M:%S} {escape(text)}")
            self.stdout.flush()
        except BrokenPipeError:  # the reader has ended, as in `etp_listen … | head`
            # Otherwise the interpreter fails at exit, when it flushes stdout.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            await client.close()


def _pair(text: str, separator: str) -> tuple[str, str]:
    name, found, value = text.partition(separator)
    if not found:
        raise CommandError(f"Expected a name and a value with {separator!r} between them, got {text!r}.")
    return name.strip(), value.strip()


def _event(text: str) -> tuple[str, str | None]:
    name, _, data = text.partition("=")
    try:
        check_event_name(name)
    except InvalidEventName as error:
        raise CommandError(f"{text!r:.80} cannot be emitted: {error}") from error
    return name, data or None
