"""Check the tokens of Django REST framework, simplejwt and knox, for ``TokenAuthMiddleware``.

    TokenAuthMiddleware(EtpConsumer.as_asgi(), authenticate=simplejwt)

Each function takes a token and the ASGI scope, and returns the user and when the token expires. It imports its package
when it is first called, and so needs no other.
"""

from datetime import UTC, datetime
from typing import Any

from django.utils import timezone
from rest_framework.exceptions import AuthenticationFailed

__all__ = ["drf_token", "knox", "simplejwt"]

_Answer = tuple[Any, datetime | None] | None


def drf_token(token: str, scope: dict[str, Any]) -> _Answer:
    """Return the user of a token of ``rest_framework.authtoken``. Such tokens do not expire."""
    from rest_framework.authentication import TokenAuthentication

    try:
        user, _ = TokenAuthentication().authenticate_credentials(token)
    except AuthenticationFailed:
        return None
    return user, None


def simplejwt(token: str, scope: dict[str, Any]) -> _Answer:
    """Return the user of an access token of ``djangorestframework-simplejwt``, and when the token expires."""
    from rest_framework_simplejwt.authentication import JWTAuthentication

    backend = JWTAuthentication()
    try:
        validated = backend.get_validated_token(token.encode())
        user = backend.get_user(validated)
    except AuthenticationFailed:
        return None
    expires = validated.get("exp")
    return user, None if expires is None else datetime.fromtimestamp(expires, UTC)


def knox(token: str, scope: dict[str, Any]) -> _Answer:
    """Return the user of a token of ``django-rest-knox``, and when the token expires, if it does."""
    from knox.auth import TokenAuthentication

    try:
        user, stored = TokenAuthentication().authenticate_credentials(token.encode())
    except AuthenticationFailed:
        return None
    expiry = stored.expiry
    if expiry is not None and timezone.is_naive(expiry):  # without USE_TZ
        expiry = timezone.make_aware(expiry)
    return user, expiry
