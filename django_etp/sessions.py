"""One connection's share of its user's Django session: ``connection.data``, and changes of ``connection.session``.

Rules kept here:

- The connection's copy of its data leads; it is kept in ``session["etp"][connection id]``, where views see it.
- It is written after a hook or handler that changed it, once, and removed at the end. Nothing is written, and no
  thread entered, where nothing changed.
- A change is a patch of the stored session as it is at that moment: what others wrote stays.
- A session that is gone is never brought back: an anonymous visitor's data lives on in memory, a user's connection is
  closed with 4401.
- A session can be made while its cookie can still ride on the accept; after that, data lives in memory.
- A request that began before a write may save its old copy over it: the data is looked after 25 s later.
"""

import asyncio
import copy
from collections.abc import Callable
from typing import Any

from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.backends.signed_cookies import SessionStore as CookieStore

from .data import ConnectionData, from_json
from .stores import DATA_KEY, create_session, patch_session
from .threads import run_hook

__all__ = ["ConnectionSession"]

_LOOK_AFTER = 25.0
_EMPTY = "{}"
_MISSING = object()

Known = Callable[[], frozenset[str]]


class ConnectionSession:
    """The session of one connection, and its data in there.

    Args:
        connection_id: names the data in the session.
        session: the session of the handshake; anything else than a Django session keeps the data in memory.
        living_hubs: tells the ids of all hubs that live; what others left behind is removed with the next write.
    """

    __slots__ = (
        "_base",
        "_connection_id",
        "_is_in_memory",
        "_is_session_touched",
        "_living_hubs",
        "_look_after",
        "_session",
        "_writing",
        "_written",
        "data",
    )

    def __init__(self, connection_id: str, session: Any, living_hubs: Known) -> None:
        self._connection_id = connection_id
        # Channels wraps the session in a lazy object.
        is_stored = isinstance(session, SessionBase) and not isinstance(session, CookieStore)
        self._session: SessionBase | None = session if isinstance(session, SessionBase) else None
        self._living_hubs = living_hubs
        self._is_in_memory = not is_stored
        self._is_session_touched = False
        self._base: dict[str, Any] | None = None
        self._written = _EMPTY
        self._writing: asyncio.Lock | None = None
        self._look_after: asyncio.TimerHandle | None = None
        self.data = ConnectionData()

    @property
    def key(self) -> str | None:
        """The key of the stored session, if there is one."""
        return None if self._session is None else self._session.session_key

    @property
    def session(self) -> SessionBase | None:
        """The session for a handler, which may change it."""
        if self._session is not None and not self._is_session_touched:
            self._is_session_touched = True
            self._base = copy.deepcopy(_content(self._session))
        return self._session

    @property
    def is_touched(self) -> bool:
        """Whether there may be something to save."""
        return self.data.is_touched or self._is_session_touched

    async def save(self, *, can_create: bool = False) -> bool:
        """Write what changed; return whether the session lives, or was not needed.

        ``can_create``: a visitor without a session gets one now, since its cookie can still be sent.

        Raises:
            TypeError: a nested value was changed into something that JSON cannot hold.
        """
        if self._writing is None:
            self._writing = asyncio.Lock()
        async with self._writing:
            text, changes = self._take_changes()
            if text == self._written and not changes:
                return True
            try:
                lives = await self._write(text, changes, can_create=can_create)
            except BaseException:
                self.data.is_touched = True  # tried again with the next save
                raise
            self._written = text
            return lives

    async def remove(self) -> None:
        """Remove the data from the stored session: the connection has ended."""
        if self._look_after is not None:
            self._look_after.cancel()
        if self._written != _EMPTY and self.key is not None and not self._is_in_memory:
            await run_hook(patch_session, self.key, self._patch(_EMPTY, {}))

    def look_after(self, again: Callable[[], None]) -> None:
        """Call ``again`` within 30 s, once, where there is data that a request may have overwritten."""
        if self._look_after is None and self._written != _EMPTY and not self._is_in_memory:
            self._look_after = asyncio.get_running_loop().call_later(_LOOK_AFTER, self._due, again)

    async def restore(self) -> bool:
        """Write the data again as it was last written; return whether the session lives."""
        if self._is_in_memory or self.key is None or self._written == _EMPTY:
            return True
        return await run_hook(patch_session, self.key, self._patch(self._written, {})) or self._lose()

    def _due(self, again: Callable[[], None]) -> None:
        self._look_after = None
        again()

    def _take_changes(self) -> tuple[str, dict[str, Any]]:
        self.data.is_touched = False
        text = self.data.to_json()
        changes: dict[str, Any] = {}
        if self._is_session_touched and self._session is not None and self._base is not None:
            now = _content(self._session)
            for key in {*now, *self._base} - {DATA_KEY}:
                if key not in now:
                    changes[key] = _MISSING
                elif key not in self._base or now[key] != self._base[key]:
                    changes[key] = copy.deepcopy(now[key])
            self._is_session_touched = False
        return text, changes

    async def _write(self, text: str, changes: dict[str, Any], *, can_create: bool) -> bool:
        if self._is_in_memory or self._session is None:
            return True
        patch = self._patch(text, changes)
        if self._session.session_key is None:
            if not can_create:
                self._is_in_memory = True
                return True
            made = await run_hook(create_session, patch)
            self._session._session_key = made.session_key
            return True
        return await run_hook(patch_session, self._session.session_key, patch) or self._lose()

    def _lose(self) -> bool:
        self._is_in_memory = True
        return False

    def _patch(self, text: str, changes: dict[str, Any]) -> Callable[[dict[str, Any]], None]:
        living = self._living_hubs()

        def patch(content: dict[str, Any]) -> None:
            for key, value in changes.items():
                if value is _MISSING:
                    content.pop(key, None)
                else:
                    content[key] = value
            stored = content.get(DATA_KEY)
            shares = {
                connection_id: share
                for connection_id, share in (stored if isinstance(stored, dict) else {}).items()
                if connection_id.partition(".")[0] in living and connection_id != self._connection_id
            }
            if text != _EMPTY:
                shares[self._connection_id] = from_json(text)
            if shares:
                content[DATA_KEY] = shares
            else:
                content.pop(DATA_KEY, None)

        return patch


def _content(session: SessionBase) -> dict[str, Any]:
    """Return what is loaded of a session, without loading it: that would touch the database on the event loop."""
    content: dict[str, Any] = getattr(session, "_session_cache", {})
    return content
