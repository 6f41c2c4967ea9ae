"""One connection's part of its user's Django session: ``connection.data``, and changes of ``connection.session``.

Rules kept here:

- The connection's copy of its data leads. It is stored in ``session["etp"][connection id]``, so that views can read it.
- Changes are written after the hook or handler that made them, once, by one writer at a time. Without changes nothing
  is written, and no thread is entered.
- A write patches the stored session as it is at that moment: writes of others stay.
- The data of one session's connections has a bound. Data that exceeds it stays in memory.
- A write that has begun ends before the next one begins, even if the task that waits for it is cancelled.
- When the connection ends its data is removed, and never written again. A session that was made for connection data is
  deleted with the last of it.
- A session that is gone is never brought back: the data lives on in memory.
- A session can be made as long as the accept can carry its cookie. After that the data stays in memory.
- A login by a handler leads to a session with another key. It is stored, even if no cookie names it.
- A request that began before a write may save its old copy over it. So the stored data is compared with what was
  written now and then, and written again if it differs.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.backends.signed_cookies import SessionStore as CookieStore

from django_etp.concurrency.workers import run_own

from .content import EXPIRY_KEY, MADE_KEY, has_place, put_share
from .data import ConnectionData, from_json
from .loaded import loaded_content
from .snapshot import Changes, Snapshot, apply_changes
from .storage import create_session, discard_session
from .writes import Patch, write_patch

__all__ = ["ConnectionSession"]

logger = logging.getLogger(__name__)
_EMPTY = "{}"
_NO_PLACE = "The data of connection %s stays in memory: its session holds twice ETP['MAX_DATA_SIZE'] of such data."

MayLive = Callable[[str], bool]


class ConnectionSession:
    """The session of one connection, and the connection's data in it.

    Args:
        connection_id: names the data in the session.
        session: the session of the handshake. If it is not a Django session, the data stays in memory.
        key: the session's key at the handshake.
        run: runs a coroutine on the connection's loop, even if the calling task is cancelled.
        living: called on the loop, returns a function that is called in a thread: whether the connection with an id may
            be alive. The next write removes the data of those that are not.
        is_ended: the connection has ended already, so its data stays in memory.
    """

    __slots__ = (
        "_can_be_stored",
        "_connection_id",
        "_data",
        "_has_failed",
        "_has_place",
        "_is_empty",
        "_is_ended",
        "_is_gone",
        "_is_touched",
        "_key",
        "_living",
        "_may_be_stored",
        "_run",
        "_session",
        "_snapshot",
        "_watches_others",
        "_writing",
        "_written",
    )

    def __init__(
        self,
        connection_id: str,
        session: Any,
        key: str | None,
        run: Callable[[Coroutine[Any, Any, Any]], asyncio.Task[Any]],
        living: Callable[[], MayLive],
        *,
        is_ended: bool = False,
    ) -> None:
        self._connection_id = connection_id
        # Channels wraps the session in a lazy object.
        self._session: SessionBase | None = session if isinstance(session, SessionBase) else None
        self._can_be_stored = self._session is not None and not isinstance(session, CookieStore)
        self._is_gone = False
        self._is_empty = False
        self._key = key
        self._run = run
        self._living = living
        self._data = ConnectionData()
        self._snapshot: Snapshot | None = None
        self._is_touched = False
        self._has_failed = False
        self._has_place = True
        self._is_ended = is_ended
        self._written = _EMPTY
        self._may_be_stored = False
        self._writing = asyncio.Lock()
        self._watches_others = False

    @property
    def data(self) -> ConnectionData:
        """The data. The caller may change it."""
        self._is_touched = True
        return self._data

    @property
    def session(self) -> SessionBase | None:
        """The session. The caller may change it."""
        self._is_touched = True
        if self._session is not None and self._snapshot is None:
            self._snapshot = Snapshot(self._session)
        return self._session

    @property
    def key(self) -> str | None:
        """The key of the stored session that was last written, or ``None`` without one."""
        return self._key

    @property
    def is_touched(self) -> bool:
        """Whether there may be changes to save."""
        return self._is_touched

    def mark_saved(self) -> None:
        """Record that all changes are saved, and that no handler holds the data or the session any more."""
        if not self._has_failed:
            self._is_touched = False
            self._snapshot = None

    def read(self) -> str:
        """Return the data as JSON.

        Raises:
            TypeError: a nested value was changed to one that JSON cannot hold.
        """
        return self._data.to_json()

    async def save(self, *, can_create: bool = False) -> bool:
        """Write what changed; return ``False`` if the session is gone.

        Args:
            can_create: make a session for a visitor who has none, since its cookie can still be sent.

        Raises:
            TypeError: JSON cannot hold a nested value of the data, or the serializer a value of the session.
            DataTooLarge: the data exceeds ``MAX_DATA_SIZE``.
        """
        self._has_failed = True
        if not self._writing.locked() and self._unwritten() is None:
            self._has_failed = False
            return True
        lives: bool = await asyncio.shield(self._run(self._save(can_create=can_create)))
        return lives

    async def restore(self) -> bool:
        """Write the data again as it was last written, and remove data of ended connections; see save()."""
        lives: bool = await asyncio.shield(self._run(self._restore()))
        return lives

    async def end(self) -> None:
        """Remove the data from the stored session, for good."""
        self._is_ended = True
        if self._may_be_stored or self._writing.locked():
            await asyncio.shield(self._run(self._remove()))

    async def discard(self) -> None:
        """Delete the session if it was made for connection data, and this connection's was the last in it."""
        if self._is_empty and self._key is not None:
            await asyncio.shield(self._run(run_own(discard_session, self._key, owner=self._key)))

    @property
    def watched_key(self) -> str | None:
        """The key of the stored session to compare now and then, or ``None`` if it holds none of this data."""
        is_watched = (self._may_be_stored or self._watches_others) and not self._is_in_memory and not self._is_ended
        return self._key if is_watched else None

    def watch_others(self) -> None:
        """Watch the session until it holds no data of ended connections."""
        self._watches_others = True

    def is_intact(self, shares: dict[str, Any]) -> bool:
        """Whether the stored data, by connection id, is what was written, without data of ended connections."""
        others = shares.keys() - {self._connection_id}
        if not others:
            self._watches_others = False
        may_live = self._living()
        if not all(may_live(id) for id in others):
            return False
        if not self._has_place and not has_place({id: shares[id] for id in others}, self._written):
            return self._connection_id not in shares
        return bool(shares.get(self._connection_id, {}) == from_json(self._written))

    # Writes: one at a time, and never cancelled

    async def _save(self, *, can_create: bool) -> bool:
        async with self._writing:
            lives = True
            if (unwritten := self._unwritten()) is not None:
                text, changes = unwritten
                lives = await self._write(text, changes, can_create=can_create)
                self._written = text
                if self._snapshot is not None:
                    self._snapshot.update(changes)
            self._has_failed = False
            return lives

    async def _restore(self) -> bool:
        async with self._writing:
            if self._is_in_memory or self._is_ended or self._key is None or self._has_other_key:
                return True
            return await self._patch(self._key, self._written, {})

    async def _remove(self) -> None:
        async with self._writing:
            if self._may_be_stored and not self._is_in_memory and self._key is not None:
                change = self._change(_EMPTY, {})

                def end(content: dict[str, Any]) -> None:
                    change(content)
                    self._is_empty = content.keys() == {MADE_KEY}

                lives = await write_patch(self._key, Patch(end, is_end=True))
                self._is_gone = not lives
            self._written = _EMPTY
            self._may_be_stored = False

    async def _write(self, text: str, changes: Changes, *, can_create: bool) -> bool:
        if self._is_in_memory or self._session is None:
            return True
        key = self._session.session_key
        is_login = SESSION_KEY in loaded_content(self._session)
        if self._key is not None and key is None and not is_login:
            # A handler has ended the session itself, by a flush or a logout.
            self._is_gone = True
            self._key = None
            return False
        self._key = key  # a new one after a login by a handler
        self._is_gone = False
        if key is not None:
            return await self._patch(key, text, changes)
        if can_create or is_login:  # a flushed session gets its key when it is saved
            self._may_be_stored = True
            made = changes if is_login or changes else {MADE_KEY: True}
            self._key = await run_own(create_session, self._change(text, made), owner=self._connection_id)
            self._session._session_key = self._key
        return True

    async def _patch(self, key: str, text: str, changes: Changes) -> bool:
        if text != _EMPTY:
            # Even if the write fails: data that may be stored must be removed at the end.
            self._may_be_stored = True
        change = self._change(text, changes)
        lives = await write_patch(key, Patch(change, prolong=EXPIRY_KEY in changes))
        self._is_gone = not lives
        return lives

    def _change(self, text: str, changes: Changes) -> Callable[[dict[str, Any]], None]:
        may_live = self._living()

        def change(content: dict[str, Any]) -> None:
            apply_changes(content, changes)
            had_place, self._has_place = self._has_place, put_share(content, self._connection_id, text, may_live)
            if had_place and not self._has_place:
                logger.warning(_NO_PLACE, self._connection_id)

        return change

    # Changes

    def _unwritten(self) -> tuple[str, Changes] | None:
        """Return the data as JSON and the changes of the session, or ``None`` if all is written."""
        text = _EMPTY
        if not self._is_ended:
            text = self._data.to_json_or_mend(self._written)
        snapshot = self._snapshot
        if self._session is not None and self._has_other_key:
            # All that is loaded belongs under the new key, which a login makes: it has not been written to yet.
            snapshot = Snapshot(self._session, is_empty=True)
        changes = {} if snapshot is None else snapshot.changes()
        return (text, changes) if text != self._written or changes or self._has_other_key else None

    @property
    def _is_in_memory(self) -> bool:
        """Whether nothing is to be stored: it cannot be, or the session is gone and no handler began another."""
        return not self._can_be_stored or (self._is_gone and not self._has_other_key)

    @property
    def _has_other_key(self) -> bool:
        return self._can_be_stored and self._session is not None and self._session.session_key != self._key
