"""The hub, as its link to other processes sees it."""

from collections.abc import Sequence
from typing import Any, Protocol

from .gaps import Loss
from .messages import Foreign, Frame

__all__ = ["Host"]


class Host(Protocol):
    """The methods of a hub that its link calls."""

    id: str

    def deliver_frame(self, group: str, frame: Frame) -> Sequence[Any]:
        """Deliver a frame to local members, and return those."""

    def deliver_foreign(self, message: Foreign) -> None:
        """Deliver an event of other Channels code to local members."""

    def report_loss(self, loss: Loss) -> None:
        """Report lost messages to the application."""

    async def answer(self, action: str, arguments: list[Any]) -> Any:
        """Return the result of a query from another process."""

    async def stop(self) -> None:
        """End the connections, then stop the link."""
