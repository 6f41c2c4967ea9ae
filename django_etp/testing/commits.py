"""Send the events of a transaction under the testing kit, although the test rolls the transaction back in the end.

Inside Django's ``TestCase``, and with ``db`` of pytest-django, nothing is ever committed. So on the thread that runs a
test's synchronous functions the end of the outermost ``atomic()`` block of the code under test counts as the commit.
"""

from typing import Any

from django.apps import apps
from django.db import transaction
from django.db.transaction import Atomic
from django.utils.module_loading import import_string

from django_etp.rooms import commits, warnings

from .database import is_borrowing

__all__: list[str] = []

_exit = Atomic.__exit__


def _exit_and_send(block: Any, exc_type: Any, exc_value: Any, traceback: Any) -> None:
    _exit(block, exc_type, exc_value, traceback)
    if exc_type is not None or not is_borrowing():
        return
    connection = transaction.get_connection(block.using)
    if commits.is_in_test(connection) and not commits.has_transaction(connection) and not connection.needs_rollback:
        commits.send_now(connection)
        if apps.is_installed("django_etp.outbox"):
            import_string("django_etp.outbox.storing.deliver_stored")(connection)


Atomic.__exit__ = _exit_and_send  # type: ignore[method-assign]
commits.commits_in_test = is_borrowing
warnings.is_under_test = is_borrowing
