"""One connection's share of its user's Django session: ``connection.data``, and changes of ``connection.session``.

Rules kept here:

- The connection's copy of its data leads; it is kept in ``session["etp"][connection id]``, where views see it.
- It is written after a hook or handler that changed it, once, by one writer at a time. Nothing is written, and no
  thread entered, where nothing changed.
- A change is a patch of the stored session as it is at that moment: what others wrote stays.
- A write that has begun ends before the next one begins, also where the one who waited for it was cancelled.
- At the connection's end its data is removed, and never written again; a session that was made for such data goes
  with the last of it.
- A session that is gone is never brought back: the data lives on in memory.
- A session can be made while its cookie can still ride on the accept; after that, data lives in memory.
- A login by a handler leads to a session of another key, which is stored though no cookie may name it.
- A request that began before a write may save its old copy over it: whoever reads what is stored asks whether it is
  intact, and has it written again.
"""

import asyncio
import copy
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.backends.signed_cookies import SessionStore as CookieStore
from django.utils.crypto import salted_hmac

from django_etp.concurrency.workers import run_own

from .data import ConnectionData, from_json
from .lazy import unwrapped
from .storage import DATA_KEY, EXPIRY_KEY, MADE_KEY, create_session, discard_session, patch_session, shares_in

__all__ = ["ConnectionSession", "load_session", "session_hash", "session_key_of", "shares_of_others"]

_EMPTY = "{}"
# A plain handler's thread may change a value while it is copied.
_TRIES = 100
_MISSING = object()

MayLive = Callable[[str], bool]


class ConnectionSession:
    """The session of one connection, and its data in there.

    Args:
        connection_id: names the data in the session.
        session: the session of the handshake; anything else than a Django session keeps the data in memory.
        key: the session's key at the handshake.
        run: runs a coroutine on the connection's loop, whatever becomes of the task that asks for it.
        living: gives a function that tells whether a connection may live, by its id; data of the others is removed
            with the next write. It is called on the loop, the function in a thread.
        is_ended: the connection is over already: its data lives in memory.
    """

    __slots__ = (
        "_base",
        "_can_be_stored",
        "_connection_id",
        "_data",
        "_has_failed",
        "_is_empty",
        "_is_ended",
        "_is_gone",
        "_is_touched",
        "_key",
        "_living",
        "_may_be_stored",
        "_run",
        "_session",
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
        self._base: dict[str, Any] | None = None
        self._is_touched = False
        self._has_failed = False
        self._is_ended = is_ended
        self._written = _EMPTY
        self._may_be_stored = False
        self._writing = asyncio.Lock()
        self._watches_others = False

    @property
    def data(self) -> ConnectionData:
        """The data, for somebody who may change it."""
        self._is_touched = True
        return self._data

    @property
    def session(self) -> SessionBase | None:
        """The session, for somebody who may change it."""
        self._is_touched = True
        if self._session is not None and self._base is None:
            content = _content(self._session)
            self._base = _copied(content)
            _mark_expiry(content)
        return self._session

    @property
    def key(self) -> str | None:
        """The key of the stored session that was last written; ``None`` where there is none."""
        return self._key

    @property
    def is_touched(self) -> bool:
        """Whether there may be something to save."""
        return self._is_touched

    def mark_saved(self) -> None:
        """Take note that nobody who had the data or the session in hand can change it any more; it was saved."""
        if not self._has_failed:
            self._is_touched = False
            self._base = None

    def read(self) -> str:
        """Return the data as JSON.

        Raises:
            TypeError: a nested value was changed into something that JSON cannot hold.
        """
        return self._data.to_json()

    async def save(self, *, can_create: bool = False) -> bool:
        """Write what changed; return ``False`` where the session is gone.

        ``can_create``: a visitor without a session gets one now, since its cookie can still be sent.

        Raises:
            TypeError: a nested value was changed into something that JSON cannot hold, or a key of the session into
                something that its serializer cannot.
        """
        self._has_failed = True
        if not self._writing.locked() and self._is_written():
            self._has_failed = False
            return True
        lives: bool = await asyncio.shield(self._run(self._save(can_create=can_create)))
        return lives

    async def restore(self) -> bool:
        """Write the data again as it was last written, and remove others' that is stale; see save()."""
        lives: bool = await asyncio.shield(self._run(self._restore()))
        return lives

    async def end(self) -> None:
        """Remove the data from the stored session, for good."""
        self._is_ended = True
        if self._may_be_stored or self._writing.locked():
            await asyncio.shield(self._run(self._remove()))

    async def discard(self) -> None:
        """Delete the session if it was made for connection data, and holds nothing now that this one has ended."""
        if self._is_empty and self._key is not None:
            await asyncio.shield(self._run(run_own(discard_session, self._key)))

    @property
    def watched_key(self) -> str | None:
        """The key of the stored session that is to be looked after; ``None`` where nothing is in there."""
        is_watched = (self._may_be_stored or self._watches_others) and not self._is_in_memory and not self._is_ended
        return self._key if is_watched else None

    def watch_others(self) -> None:
        """Look after the session until nothing is in there of connections that are gone."""
        self._watches_others = True

    def is_intact(self, shares: dict[str, Any]) -> bool:
        """Whether what is stored in the session, by connection id, is what was written, and nothing of the dead."""
        others = shares.keys() - {self._connection_id}
        if not others:
            self._watches_others = False
        own = shares.get(self._connection_id, {})
        may_live = self._living()
        return bool(own == from_json(self._written)) and all(may_live(id) for id in others)

    # One at a time, and never cancelled

    async def _save(self, *, can_create: bool) -> bool:
        async with self._writing:
            text, changes = self._changes()
            lives = True
            if text != self._written or changes or self._has_other_key:
                lives = await self._write(text, changes, can_create=can_create)
                self._written = text
                self._rebase(changes)
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

                lives = await run_own(partial(patch_session, self._key, end, is_end=True))
                self._is_gone = not lives
            self._written = _EMPTY
            self._may_be_stored = False

    async def _write(self, text: str, changes: dict[str, Any], *, can_create: bool) -> bool:
        if self._is_in_memory or self._session is None:
            return True
        key = self._session.session_key
        is_login = SESSION_KEY in _content(self._session)
        if self._key is not None and key is None and not is_login:
            # A handler has ended the session itself, by a flush or a logout.
            self._is_gone = True
            self._key = None
            return False
        self._key = key  # another one, where a handler logged somebody in
        self._is_gone = False
        if key is not None:
            return await self._patch(key, text, changes)
        if can_create or is_login:  # the key of a flushed session is made when it is saved
            self._may_be_stored = True
            made = {} if is_login or changes else {MADE_KEY: True}
            self._key = await run_own(create_session, self._change(text, {**changes, **made}))
            self._session._session_key = self._key
        return True

    async def _patch(self, key: str, text: str, changes: dict[str, Any]) -> bool:
        if text != _EMPTY:
            # Whatever becomes of the write: what may be there is to be removed at the end.
            self._may_be_stored = True
        change = self._change(text, changes)
        lives: bool = await run_own(partial(patch_session, key, change, prolong=EXPIRY_KEY in changes))
        self._is_gone = not lives
        return lives

    # What has changed

    def _is_written(self) -> bool:
        text, changes = self._changes()
        return text == self._written and not changes and not self._has_other_key

    @property
    def _is_in_memory(self) -> bool:
        """Whether nothing is to be stored: it cannot be, or the session is gone and no handler began another."""
        return not self._can_be_stored or (self._is_gone and not self._has_other_key)

    @property
    def _has_other_key(self) -> bool:
        return self._can_be_stored and self._session is not None and self._session.session_key != self._key

    def _changes(self) -> tuple[str, dict[str, Any]]:
        text = _EMPTY if self._is_ended else self._data_as_json()
        # Under a new key, as a login makes one, nobody else has written yet: all that is loaded belongs there.
        base = {} if self._has_other_key else self._base
        if self._session is None or base is None:
            return text, {}
        now = _content(self._session)
        changes: dict[str, Any] = {}
        for key in {*now, *base} - {DATA_KEY}:
            value = now.get(key, _MISSING)
            if value is _MISSING:
                changes[key] = _MISSING
                continue
            try:
                if key not in base or value != base[key] or (key == EXPIRY_KEY and type(value) is int):
                    changes[key] = _copied(value)
                    self._session.serializer().dumps({key: changes[key]})
            except Exception as error:  # serializers and copies of what they refuse raise what they like
                # It would fail every later write, too.
                if key in base:
                    now[key] = copy.deepcopy(base[key])
                else:
                    now.pop(key, None)
                raise TypeError(
                    f"connection.session[{key!r:.80}] must be what SESSION_SERIALIZER can hold, "
                    f"got {type(value).__name__}: {error}. The key is as it was before."
                ) from error
        return text, changes

    def _data_as_json(self) -> str:
        try:
            return self._data.to_json()
        except TypeError as error:
            # It would fail every later write, and with it events that have nothing to do with it.
            self._data.mend(self._written)
            raise TypeError(f"{error} The key is as it was before.") from None

    def _rebase(self, written: dict[str, Any]) -> None:
        if self._base is None:
            return
        for key, value in written.items():
            if value is _MISSING:
                self._base.pop(key, None)
            else:
                self._base[key] = value
        if EXPIRY_KEY in written and self._session is not None:
            _mark_expiry(_content(self._session))

    def _change(self, text: str, changes: dict[str, Any]) -> Callable[[dict[str, Any]], None]:
        may_live = self._living()

        def change(content: dict[str, Any]) -> None:
            for key, value in changes.items():
                if value is _MISSING:
                    content.pop(key, None)
                else:
                    content[key] = value
            own = self._connection_id
            shares = {id: share for id, share in shares_in(content).items() if id != own and may_live(id)}
            if text != _EMPTY:
                shares[own] = from_json(text)
            if shares:
                content[DATA_KEY] = shares
            else:
                content.pop(DATA_KEY, None)

        return change


class _Expiry(int):
    """An expiry that is stored already: set_expiry() puts a plain int in its place, maybe the same number again."""

    def __reduce__(self) -> tuple[type[int], tuple[int]]:
        return int, (int(self),)  # copied, or pickled by a cache, it is a plain one


def _mark_expiry(content: dict[str, Any]) -> None:
    if type(expiry := content.get(EXPIRY_KEY)) is int:
        content[EXPIRY_KEY] = _Expiry(expiry)


def _copied(value: Any) -> Any:
    for _ in range(_TRIES):
        try:
            return copy.deepcopy(value)
        except RecursionError:
            break
        except RuntimeError:
            continue
    return copy.deepcopy(value)


def session_hash(session_key: str) -> str:
    """Return what names a session between processes, where its key must not travel."""
    return salted_hmac("django_etp.session", session_key, algorithm="sha256").hexdigest()


def session_key_of(scope: dict[str, Any]) -> str | None:
    """Return the key of the session in an ASGI scope; ``None`` where it has none."""
    session = unwrapped(scope.get("session"))
    return session.session_key if isinstance(session, SessionBase) else None


async def load_session(session: Any) -> None:
    """Load a session that no middleware has loaded, so that no handler does it on the event loop."""
    session = unwrapped(session)
    if hasattr(session, "_session_cache"):
        return
    is_stored = isinstance(session, SessionBase) and not isinstance(session, CookieStore)
    if is_stored:
        await run_own(session._get_session)


def shares_of_others(session: Any) -> frozenset[str]:
    """Return the ids of the connections whose data a session had when the handshake loaded it."""
    return frozenset(shares_in(_content(session))) if isinstance(session, SessionBase) else frozenset()


def _content(session: SessionBase) -> dict[str, Any]:
    """Return what is loaded of a session, without loading it: that would touch the database on the event loop."""
    content: dict[str, Any] = getattr(session, "_session_cache", {})
    return content
