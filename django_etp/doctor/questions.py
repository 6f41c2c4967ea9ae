"""The questions of ``etp_doctor`` to a server, which are signed with the ``SECRET_KEY`` of the project.

Rules kept here:

- A server answers only what was signed with its own ``SECRET_KEY``, or with one of its ``SECRET_KEY_FALLBACKS``.
- A question is good for some minutes, so that clocks may differ, and one that was overheard is of no use for long.
"""

import math
from dataclasses import asdict, dataclass

from django.core import signing

__all__ = ["MOST_RECIPIENTS", "Question", "read_question", "sign"]

_SALT = "django_etp.doctor"
# How old a question may be, in seconds, in either direction: clocks may differ.
_LIFETIME = 300.0
_MAX_SIZE = 8000
MOST_RECIPIENTS = 32


@dataclass(frozen=True, slots=True)
class Question:
    """A question to the server at the other end of a connection.

    Attributes:
        at: when it was asked, in seconds since 1970.
        nonce: a random text, which the server's fingerprints depend on, and which it sends to ``to``.
        to: the ids of connections to send an event to; if there are none, the question is for the server's facts.
    """

    at: float
    nonce: str
    to: tuple[str, ...] = ()

    def is_fresh(self, now: float) -> bool:
        """Return whether the question is young enough to be answered in full."""
        return abs(now - self.at) <= _LIFETIME


def sign(question: Question) -> str:
    """Return the data of the event that asks this question."""
    return signing.Signer(salt=_SALT).sign_object(asdict(question))


def read_question(text: str) -> Question | None:
    """Return the question in the data of an event; ``None`` if it was not signed with this project's ``SECRET_KEY``."""
    if len(text) > _MAX_SIZE:
        return None
    try:
        content = signing.Signer(salt=_SALT).unsign_object(text)
    except (signing.BadSignature, ValueError):
        return None
    match content:
        case {"at": int() | float() as at, "nonce": str() as nonce, "to": [*to]} if math.isfinite(at):
            return Question(at, nonce, tuple(map(str, to[:MOST_RECIPIENTS])))
    return None
