"""A WebSocket protocol class for uvicorn: ``uvicorn --ws django_etp.uvicorn:Protocol``.

uvicorn is imported with this package, and by no other part of django_etp.
"""

from .protocol import Protocol

__all__ = ["Protocol"]
