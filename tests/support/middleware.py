"""Middleware for tests, which records what passes through it."""

from typing import Any

from django_etp import Connection, Event

__all__ = ["inner", "seen", "use"]

# What the functions have recorded; each test module that uses them clears it before a test.
seen: list[Any] = []


async def inner(connection: Connection, event: Event, handle: Any) -> Any:
    seen.append(f"inner {event.name}")
    result = await handle(connection, event)
    seen.append(result)
    return result


def use(settings: Any, module: str, *names: str, connect: tuple[str, ...] = ()) -> None:
    """Switch on functions of a module, or of this one, around events and around `on_connect`."""
    paths = {"MIDDLEWARE": names, "CONNECT_MIDDLEWARE": connect}
    settings.ETP = {
        key: [f"{__name__ if name in globals() else module}.{name}" for name in names] for key, names in paths.items()
    }
