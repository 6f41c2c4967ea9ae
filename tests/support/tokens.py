"""Clients with tokens: what they offer, and an application that knows some tokens."""

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.auth.models import User

from django_etp.auth import TokenAuthMiddleware
from django_etp.consumers import EtpConsumer
from django_etp.testing import EtpCommunicator

EXTENSIONS = "etp.ext.v1"
ADA = User(pk=7, username="ada")
BOB = User(pk=8, username="bob")


def offered(token: str | bytes) -> str:
    """Return the subprotocol that holds a token."""
    raw = token if isinstance(token, bytes) else token.encode()
    return "etp.token." + base64.urlsafe_b64encode(raw).decode().rstrip("=")


def after(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


class Tokens(dict[str, Any]):
    """The answers of an `authenticate` function by token; it raises those that are exceptions."""

    async def authenticate(self, token: str, scope: dict[str, Any]) -> Any:
        answer = self.get(token)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def client(
        self, token: str | None = None, *, is_extended: bool = True, extensions: str = EXTENSIONS, **options: Any
    ) -> EtpCommunicator:
        """Return a client that offers a token as a subprotocol, or none."""
        names = [extensions] * is_extended + ([] if token is None else [offered(token)])
        application = TokenAuthMiddleware(EtpConsumer.as_asgi(), authenticate=self.authenticate)
        return EtpCommunicator(application, subprotocols=names, **options)
