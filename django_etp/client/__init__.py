"""An ETP client for Python; it needs no Django."""

from .client import CONNECT_ERRORS, EtpClient, FailedAttempt

__all__ = ["CONNECT_ERRORS", "EtpClient", "FailedAttempt"]
