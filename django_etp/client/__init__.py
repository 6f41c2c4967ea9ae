"""An ETP client for Python; it needs no Django."""

try:
    from .attempts import CONNECT_ERRORS, FailedAttempt
    from .client import EtpClient
except ImportError as error:
    if not (error.name or "").startswith("websockets"):
        raise
    raise ImportError(
        "django_etp.client needs the library websockets, 15 or newer: install django-etp[client].",
        name=error.name,
        path=error.path,
    ) from error

__all__ = ["CONNECT_ERRORS", "EtpClient", "FailedAttempt"]
