"""A database connection of a thread, left behind as a failed query leaves it."""

from django.db import connection as database


def spoil() -> None:
    """Leave a connection behind as a failed query does; Django looks after it before its next request."""
    database.ensure_connection()
    database.errors_occurred = True


def is_spoiled() -> bool:
    """Return whether the connection of this thread was not looked after since."""
    return database.errors_occurred


def hang_up() -> None:
    """Close the connection of this thread, also one to SQLite in memory, which Django's own close() leaves open."""
    if database.connection is not None:
        database.connection.close()
        database.connection = None
