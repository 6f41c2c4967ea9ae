"""``manage.py etp_events``: list events, rooms and hooks with their places."""

from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from django_etp.events.declared import DeclaredRoom
from django_etp.events.handlers import Handler
from django_etp.events.namespaces import Namespace
from django_etp.events.registry import registry

_HOOKS = ("on_connect", "on_disconnect", "on_unknown_event", "on_error")


class Command(BaseCommand):
    """List what the project has registered, by namespace."""

    help = "Lists the events, declared rooms and hooks of the project, by namespace, each with its place."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add --rooms."""
        parser.add_argument(
            "--rooms", action="store_true", help="list the declared rooms alone, with their permissions"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Print a table for each namespace."""
        lines = _rooms if options["rooms"] else _everything
        for name in registry.names:
            rows = list(lines(registry.namespace(name)))
            if not rows:
                continue
            widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
            self.stdout.write(f"namespace {name!r}")
            for row in rows:
                cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
                self.stdout.write(f"  {'  '.join(cells)}".rstrip())


def _everything(namespace: Namespace) -> Iterator[tuple[str, str, str]]:
    for name, handler in sorted(namespace.events.items()):
        yield "event", repr(name), handler.place
    for room in namespace.rooms:
        yield "room", room.pattern.text, room.place
        for what, each in _functions(room):
            yield f"  {what}", "", each.place
        for name, handler in sorted(room.events.items()):
            yield "  event", repr(name), handler.place
    for kind in _HOOKS:
        for hook in getattr(namespace, kind):
            yield kind, "", hook.place


def _functions(room: DeclaredRoom) -> Iterator[tuple[str, Handler]]:
    if room.rule is not None:
        yield "allow", room.rule
    if room.leave_handler is not None:
        yield "on_leave", room.leave_handler
    if room.describe is not None:
        yield "presence", room.describe


def _rooms(namespace: Namespace) -> Iterator[tuple[str, str]]:
    for room in namespace.rooms:
        rules = ["login"] if room.login_required else []
        rules += [f"permission {name}" for name in room.permissions]
        rules += [f"allow: {room.rule.place}"] if room.rule is not None else []
        yield room.pattern.text, ", ".join(rules) or "open to all"
