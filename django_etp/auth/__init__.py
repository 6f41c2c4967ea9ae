"""Log clients in by tokens, and end the connections of sessions and users that are no longer valid."""

from .middleware import TokenAuthMiddleware

__all__ = ["TokenAuthMiddleware"]
