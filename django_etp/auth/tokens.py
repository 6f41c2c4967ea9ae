"""Find the token of a handshake, and keep it out of what handlers and logs see.

Rules kept here:

- A token comes as the subprotocol ``etp.token.<base64url without padding>``, or in the ``Authorization`` header with
  the scheme ``Bearer`` or ``Token``. A token in the URL is not looked for.
- Neither place keeps its token: handlers see the scope without it.
- A line of a traceback that quotes the token, or a part of it, is not logged.
"""

import base64
import binascii
import re
from typing import Any

__all__ = ["censored", "is_token", "take_tokens"]

_SUBPROTOCOL = "etp.token."
_SCHEME = re.compile(rb"(?:bearer|token)(?![^ \t])", re.IGNORECASE)
_ENCODED = re.compile(r"[A-Za-z0-9_-]+")
# Servers refuse longer lines of a handshake.
_MAX_LENGTH = 8192
# A text with so many characters of a token in a row quotes it.
_QUOTED = 8


def is_token(value: str) -> bool:
    """Return whether a text may be a token: up to 8,192 printable characters without spaces."""
    return 0 < len(value) <= _MAX_LENGTH and value.isprintable() and " " not in value


def take_tokens(scope: dict[str, Any]) -> tuple[dict[str, Any], list[str | None]]:
    """Return the scope of a handshake without its tokens, and the tokens; ``None`` for each that cannot be read."""
    subprotocols: list[str] = []
    headers: list[tuple[bytes, bytes]] = []
    tokens: list[str | None] = []
    for name in scope.get("subprotocols", ()):
        if name.startswith(_SUBPROTOCOL):
            tokens.append(_decoded(name.removeprefix(_SUBPROTOCOL)))
        else:
            subprotocols.append(name)
    for header, value in scope.get("headers", ()):
        match header.lower():
            case b"authorization" if scheme := _SCHEME.match(value):
                tokens.append(_read(value[scheme.end() :].strip()))
            case b"sec-websocket-protocol":
                if rest := _without_tokens(value):
                    headers.append((header, rest))
            case _:
                headers.append((header, value))
    return {**scope, "subprotocols": subprotocols, "headers": headers}, tokens


def censored(text: str, token: str) -> str:
    """Return a text without the lines that quote the token or a part of it, as it is or as the subprotocol has it."""
    encoded = base64.urlsafe_b64encode(token.encode(errors="replace")).decode().rstrip("=")
    parts = {
        form[start : start + _QUOTED]
        for form in (token, ascii(token)[1:-1], encoded)
        for start in range(max(1, len(form) - _QUOTED + 1))
    }
    return "\n".join(
        "  (a line that quotes the token)" if any(part in line for part in parts) else line
        for line in text.splitlines()
    )


def _decoded(encoded: str) -> str | None:
    if not _ENCODED.fullmatch(encoded):
        return None
    try:
        return _read(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
    except binascii.Error:
        return None


def _read(value: bytes) -> str | None:
    try:
        token = value.decode()
    except UnicodeDecodeError:
        return None
    return token if is_token(token) else None


def _without_tokens(value: bytes) -> bytes:
    names = [name.strip() for name in value.split(b",")]
    return b", ".join(name for name in names if not name.startswith(_SUBPROTOCOL.encode()))
