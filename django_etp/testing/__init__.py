"""A client for tests."""

from django_etp.schemas import schema

from .communicator import EtpCommunicator
from .rejection import HandshakeRejected
from .rooms import JoinedRoom

__all__ = ["EtpCommunicator", "HandshakeRejected", "JoinedRoom"]

schema.is_under_test = True  # values of declared types are checked when they are sent
