"""How large the messages of a client may be: checked here, and by the server before it unpacks them."""

from django_etp.connections.asgi import Send
from django_etp.connections.transport import limit_message_size
from django_etp.exceptions import MessageTooLarge
from django_etp.protocol.frames import size_of

__all__ = ["check_size", "limit_on_server"]

# The server closes without a report to on_error, so it refuses only what is far too large.
_SERVER_TIMES = 2


def limit_on_server(send: Send, limit: int) -> None:
    """Let uvicorn refuse messages of more than twice the limit before it has unpacked them."""
    limit_message_size(send, _SERVER_TIMES * limit)


def check_size(data: str | bytes, limit: int) -> None:
    """Check the size of a message.

    Raises:
        MessageTooLarge: it has more bytes than the limit.
    """
    size = size_of(data) if isinstance(data, str) else len(data)
    if size > limit:
        raise MessageTooLarge(
            f"A message must have at most {limit:,} bytes, got {size:,}; the connection is closed with 1009. "
            "Raise ETP['MAX_MESSAGE_SIZE'] if clients may send more."
        )
