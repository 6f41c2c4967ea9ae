"""A client for tests."""

from django_etp.schemas import schema

from .communicator import EtpCommunicator, HandshakeRejected

__all__ = ["EtpCommunicator", "HandshakeRejected"]

schema.is_under_test = True  # values of declared types are checked when they are sent
