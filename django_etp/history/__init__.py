"""The recent events of rooms, each with its position, in memory, in Redis or in a database."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .database import DatabaseHistory
    from .memory import MemoryHistory
    from .redis import RedisHistory

__all__ = ["DatabaseHistory", "MemoryHistory", "RedisHistory"]

# Each is imported only if it is used: one needs redis, and one the app of this package.
_MODULES = {"DatabaseHistory": "database", "MemoryHistory": "memory", "RedisHistory": "redis"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
