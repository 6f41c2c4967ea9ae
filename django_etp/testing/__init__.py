"""A client for tests."""

from .communicator import EtpCommunicator
from .rejection import HandshakeRejected
from .rooms import JoinedRoom

__all__ = ["EtpCommunicator", "HandshakeRejected", "JoinedRoom"]
