"""The error of a refused handshake."""

from django_etp.testing import HandshakeRejected


def test_it_holds_the_status() -> None:
    assert HandshakeRejected().status == 403
    assert "HTTP 503" in str(HandshakeRejected(503))
