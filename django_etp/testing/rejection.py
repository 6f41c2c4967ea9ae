"""The error of a test's client whose handshake was refused."""

from django_etp.exceptions import EtpError

__all__ = ["HandshakeRejected"]


class HandshakeRejected(EtpError):
    """The application refused the handshake; ``status`` is the HTTP status that the client receives.

    403 is a refusal, 503 a failure of ``on_connect``, after which clients try again.
    """

    def __init__(self, status: int = 403) -> None:
        super().__init__(f"The application refused the handshake with HTTP {status}.")
        self.status = status
