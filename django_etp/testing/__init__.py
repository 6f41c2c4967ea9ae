"""A client for tests."""

from .communicator import EtpCommunicator, HandshakeRejected

__all__ = ["EtpCommunicator", "HandshakeRejected"]
