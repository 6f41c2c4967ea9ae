"""Bind emits to the transaction of a database connection: sent after its commit, and gone with a rollback.

Rules kept here:

- The emits of a transaction are callbacks in the list that Django keeps for its commit, so that everything that ends a
  transaction, or captures its callbacks in a test, holds for them. The last callback that is left sends them all.
- Emits that a rollback can drop together share a callback. So one that took the place of an earlier emit gives it back.
- A rollback to a savepoint drops what came after the savepoint, as in the database. That holds for savepoints outside
  of ``atomic()``, too, of which Django's own callbacks know nothing.
- If another callback of the commit raises, Django runs none after it. The emits are sent all the same.
- In Django's ``TestCase`` each emit has a callback of its own: one test may capture some of them.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import update_wrapper
from typing import Any

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from .background import send_in_background
from .emits import Emit, Emits

__all__ = ["counts_as_committed", "emit_with_commit", "has_transaction", "is_in_test", "send_now"]

# Returns whether a transaction of a TestCase counts as none on this thread. The testing kit sets it.
commits_in_test: Callable[[], bool] | None = None


class _Transaction:
    """The callbacks of one transaction that no rollback has dropped and that have not sent their emits, in order."""

    def __init__(self) -> None:
        self.callbacks: dict[_Callback, None] = {}

    def send(self, callbacks: "Iterable[_Callback]") -> None:
        """Send the emits of callbacks. Raises nothing."""
        emits = Emits()
        for callback in tuple(callbacks):
            del self.callbacks[callback]
            for emit in callback.emits:
                emit.add_to(emits)
        if sends := emits.sends():
            send_in_background(sends)


class _Callback:
    """Emits that a rollback drops together.

    Args:
        transaction: the transaction that they are part of.
        savepoints: the savepoints of the atomic blocks around them.
        state: how many savepoints the connection had made before them.
    """

    def __init__(self, transaction: _Transaction, savepoints: frozenset[str], state: int) -> None:
        self.transaction = transaction
        self.savepoints = savepoints
        self.state = state
        self.emits = Emits()
        self._is_due = False
        transaction.callbacks[self] = None

    def run(self) -> None:
        """Send the emits of the transaction if this is its last callback; called after the commit. Raises nothing."""
        callbacks = self.transaction.callbacks
        if self not in callbacks:
            return  # a test has run it already
        self._is_due = True
        if next(reversed(callbacks)) is self:
            self.transaction.send([callback for callback in callbacks if callback._is_due])

    def drop(self) -> None:
        """Forget the emits: a rollback has undone the changes that they were for."""
        self.transaction.callbacks.pop(self, None)


class _Guarded:
    """A callback of others, for Django to call: if it raises, the emits are sent before Django gives up the others."""

    def __init__(self, function: Callable[[], Any], transaction: _Transaction) -> None:
        update_wrapper(self, function)
        self._function = function
        self.transaction = transaction

    def __call__(self) -> None:
        try:
            self._function()
        except BaseException:
            self.transaction.send(self.transaction.callbacks)
            raise


class _Savepoints(set[str | None]):
    """The savepoints of a callback. At a rollback Django asks whether they hold the savepoint, to drop the callback."""

    def __init__(self, savepoints: Iterable[str | None], callback: _Callback) -> None:
        super().__init__(savepoints)
        self._callback = callback

    def __contains__(self, savepoint: object) -> bool:
        if not super().__contains__(savepoint) and not self._came_after(savepoint):
            return False
        self._callback.drop()
        return True

    def _came_after(self, savepoint: object) -> bool:
        # The name of a savepoint ends with its number, as in "s140245_x3".
        number = str(savepoint).rpartition("_x")[2]
        return number.isdecimal() and self._callback.state >= int(number)


def emit_with_commit(emit: Emit, using: str | None) -> None:
    """Send something when the transaction commits; at once if there is none.

    Raises:
        TransactionManagementError: autocommit is off, and there is no ``atomic()`` block.
    """
    connection = transaction.get_connection(using)
    callback = _last_callback(connection)
    if callback is None:
        callback = _new_callback(connection, emit)
    else:
        emit.add_to(callback.emits)
    if counts_as_committed(connection):
        callback.run()


def send_now(connection: BaseDatabaseWrapper) -> None:
    """Send what waits for the commit of a connection, as if that had happened."""
    for callback in tuple(next((each.transaction.callbacks for each in _callbacks(connection)), ())):
        callback.run()


def counts_as_committed(connection: BaseDatabaseWrapper) -> bool:
    """Return whether what a test writes now counts as committed, under the testing kit."""
    return commits_in_test is not None and commits_in_test() and not has_transaction(connection)


def has_transaction(connection: BaseDatabaseWrapper) -> bool:
    """Return whether an ``atomic()`` block is open that is not the test's own."""
    return any(not getattr(block, "_from_testcase", False) for block in connection.atomic_blocks)


def is_in_test(connection: BaseDatabaseWrapper) -> bool:
    """Return whether an ``atomic()`` block of a ``TestCase`` is open."""
    return any(getattr(block, "_from_testcase", False) for block in connection.atomic_blocks)


def _last_callback(connection: BaseDatabaseWrapper) -> _Callback | None:
    """Return the callback that an emit may join: the last one, if no savepoint was made or left since."""
    hooks = connection.run_on_commit
    callback = getattr(hooks[-1][1], "__self__", None) if hooks else None
    if (
        isinstance(callback, _Callback)
        and callback in callback.transaction.callbacks
        and (callback.savepoints, callback.state) == _place(connection)
        and not is_in_test(connection)
    ):
        return callback
    return None


def _new_callback(connection: BaseDatabaseWrapper, emit: Emit) -> _Callback:
    earlier = next(_callbacks(connection), None)
    callback = _Callback(_Transaction() if earlier is None else earlier.transaction, *_place(connection))
    emit.add_to(callback.emits)
    run = callback.run
    transaction.on_commit(run, using=connection.alias)
    hooks: list[Any] = connection.run_on_commit
    if hooks and hooks[-1][1] is run:
        hooks[-1] = (_Savepoints(hooks[-1][0], callback), *hooks[-1][1:])
        if not is_in_test(connection):
            _guard(hooks, callback.transaction)
    return callback


def _guard(hooks: list[Any], transaction: _Transaction) -> None:
    """Guard the callbacks of others between the last callback of ours and the one before it."""
    for index in range(len(hooks) - 2, -1, -1):
        savepoints, function, is_robust = hooks[index]
        if isinstance(getattr(function, "__self__", None), _Callback):
            return
        if isinstance(function, _Guarded):
            function.transaction = transaction  # a rollback has dropped the earlier emits
        elif not is_robust:
            hooks[index] = savepoints, _Guarded(function, transaction), is_robust


def _callbacks(connection: BaseDatabaseWrapper) -> Iterator[_Callback]:
    """Return the callbacks of the transaction, the last one first."""
    for hook in reversed(connection.run_on_commit):
        if isinstance(callback := getattr(hook[1], "__self__", None), _Callback):
            yield callback


def _place(connection: BaseDatabaseWrapper) -> tuple[frozenset[str], int]:
    return frozenset(filter(None, connection.savepoint_ids)), connection.savepoint_state
