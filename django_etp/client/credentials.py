"""The headers, cookies and token of a client, as values or as functions that are called at each attempt to connect.

Rules kept here:

- A function may be a coroutine function. It is called at each attempt, and that for the token before the token expires.
- A function has 20 s. An attempt whose function fails counts as one that may succeed the next time.
- The token goes into a header, never into the URL. The library's log of headers and frames is off with a token.
"""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

__all__ = ["Cookies", "Credentials", "Headers", "Token", "TokenLogger"]

_Headers = Mapping[str, str] | Iterable[tuple[str, str]]
_Cookies = Mapping[str, str] | None
_Token = str | None
# Values, or functions that return them.
Headers = _Headers | Callable[[], _Headers | Awaitable[_Headers]]
Cookies = _Cookies | Callable[[], _Cookies | Awaitable[_Cookies]]
Token = _Token | Callable[[], _Token | Awaitable[_Token]]

# How long a function may take, in seconds.
_LIMIT = 20.0


class TokenLogger(logging.LoggerAdapter[logging.Logger]):
    """The library's logger without DEBUG, at which it logs each header and each frame."""

    def isEnabledFor(self, level: int) -> bool:
        """Return whether a record of the level is logged."""
        return level > logging.DEBUG and super().isEnabledFor(level)


class Credentials:
    """The headers, cookies and token of a client. See ``EtpClient`` for the arguments."""

    def __init__(self, headers: Headers, cookies: Cookies, token: Token) -> None:
        self._headers = headers
        self._cookies = cookies
        self._token = token
        self._failure: BaseException | None = None

    @property
    def may_change(self) -> bool:
        """Whether the next attempt may show others."""
        return any(callable(source) for source in (self._headers, self._cookies, self._token))

    @property
    def have_token(self) -> bool:
        """Whether a token is among them."""
        return self._token is not None

    @property
    def can_renew(self) -> bool:
        """Whether there may be another token when this one expires."""
        return callable(self._token)

    def caused(self, error: BaseException) -> bool:
        """Return whether an attempt failed because one of the functions raised this error."""
        return error is self._failure

    async def pairs(self) -> list[tuple[str, str]]:
        """Return all as headers."""
        try:
            headers = await _current(self._headers)
            pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
            if cookies := await _current(self._cookies):
                pairs.append(("Cookie", "; ".join(f"{name}={value}" for name, value in cookies.items())))
            if token := await self.token():
                pairs.append(("Authorization", f"Bearer {token}"))
            return pairs
        except Exception as error:
            self._failure = error
            raise

    async def token(self) -> str | None:
        """Return the token; ``None`` if there is none.

        Raises:
            ValueError: it is not what a header may hold.
        """
        token = await _current(self._token)
        if token is not None and not (isinstance(token, str) and token.isprintable() and " " not in token):
            # Its text is not quoted.
            raise ValueError(f"A token must be str without spaces and control characters, got {type(token).__name__}.")
        return token or None


async def _current(source: Any) -> Any:
    if not callable(source):
        return source
    async with asyncio.timeout(_LIMIT):
        value = source()
        return await value if inspect.isawaitable(value) else value
