"""What a client that speaks the extensions is told of an event that failed."""

from django.conf import settings
from django.core.exceptions import PermissionDenied

from .exceptions import EventFailed
from .failure_codes import handler_failed, named_failure

__all__ = ["failure_of"]


def failure_of(error: BaseException) -> EventFailed:
    """Return the failure that names an error; no text of an unexpected one goes out unless ``DEBUG`` is on."""
    if isinstance(error, PermissionDenied):
        return EventFailed("permission_denied", str(error) or "This is not allowed.")
    if failure := named_failure(error):
        return failure
    return handler_failed(f"{type(error).__name__}: {error}") if settings.DEBUG else handler_failed()
