"""Leave a thread's database connection in the state after a failed query, and check it."""

from django.db import connection as database


def spoil() -> None:
    """Leave the connection as a failed query does; Django closes such a connection before its next request."""
    database.ensure_connection()
    database.errors_occurred = True


def is_spoiled() -> bool:
    """Return whether the connection of this thread is still in that state."""
    return database.errors_occurred


def hang_up() -> None:
    """Close the connection of this thread, even one to SQLite in memory, which Django's close() leaves open."""
    if database.connection is not None:
        database.connection.close()
        database.connection = None
