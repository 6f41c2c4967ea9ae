"""What a hub needs to send batches, over a layer that is a list."""

import asyncio
from collections.abc import Iterable
from typing import Any

from django_etp.cluster.messages import Frame
from django_etp.cluster.publisher import Publisher
from django_etp.concurrency.confirmations import Confirmation, confirmed
from django_etp.hub.batches import Batches, Send
from django_etp.hub.emissions import Emissions
from django_etp.hub.names import group_name
from django_etp.hub.pace import Pace


class Site:
    """A hub that sends batches, the messages that its layer took, and the texts that its own members got.

    The layer takes nothing while `is_open` is not set, and fails while `is_down`.
    """

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.sent: list[dict[str, Any]] = []
        self.delivered: list[str] = []
        self.is_open = asyncio.Event()
        self.is_open.set()
        self.is_down = False
        self.publisher: Any = Publisher("hub", self._send, self._send_to_all)
        self.batches = Batches(self.publisher, Emissions(), Pace(self.loop), self._deliver)

    async def send_batch(self, *sends: Send) -> None:
        """Send a batch, and wait until the layer has taken it."""
        groups, beside = self.batches.route(sends)
        await confirmed(list(self.batches.publish(sends, groups, beside)))

    def send(
        self, namespace: str, rooms: list[str], text: str, exclude: frozenset[str], beside: Iterable[str]
    ) -> list[Confirmation]:
        """Send one event, as a hub does."""
        groups = [group_name(namespace, room) for room in rooms]
        confirmations: list[Confirmation] = self.publisher.publish(groups, Frame(text, exclude), beside=beside)
        return confirmations

    @property
    def texts(self) -> list[str]:
        """The texts that the layer took, in order."""
        return [Frame.from_plain(frame).text for message in self.sent for frame in message["frames"]]

    def heard(self, *rooms: str, backwards: bool = False) -> list[str]:
        """Return what a member of rooms in another process gets, whichever group's messages arrive first."""
        emissions, heard = Emissions(), []
        groups = {group_name("default", room): room for room in rooms} | {group_name("default", None): ""}
        for message in sorted(self.sent, key=lambda message: message["group"], reverse=backwards):
            if message["group"] in groups:
                for frame in map(Frame.from_plain, message["frames"]):
                    is_first = not frame.rooms or emissions.is_first(frame.emission)
                    if is_first and set(frame.rooms or [groups[message["group"]]]) & set(rooms):
                        heard.append(frame.text)
        return heard

    async def _send(self, group: str, message: dict[str, Any]) -> None:
        await self.is_open.wait()
        if self.is_down:
            raise ConnectionError("down")
        self.sent.append(message)

    async def _send_to_all(self, message: dict[str, Any]) -> None:
        pass

    def _deliver(self, namespace: str, rooms: Iterable[str | None], text: str, exclude: frozenset[str]) -> list[Any]:
        self.delivered.append(text)
        return []


def sends(*rooms_and_texts: tuple[str, str]) -> list[Send]:
    return [Send("default", tuple(rooms.split()), text) for rooms, text in rooms_and_texts]
