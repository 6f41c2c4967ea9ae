"""Sends to the groups of rooms. What receives them is in tests/rooms/test_across_processes.py."""

from collections.abc import Sequence
from typing import Any

import pytest

from django_etp.cluster.links import LocalLink
from django_etp.cluster.messages import Frame
from django_etp.concurrency.confirmations import Confirmation
from django_etp.hub.names import group_name
from django_etp.hub.publishing import publish


class Link(LocalLink):
    """Keeps what is published."""

    def __init__(self) -> None:
        self.published: list[tuple[Any, ...]] = []

    def publish(self, groups: Sequence[str], frame: Frame, *, beside: Sequence[str] = ()) -> list[Confirmation]:
        self.published.append((list(groups), frame, list(beside)))
        return []


@pytest.mark.parametrize("rooms", [["lobby"], ["lobby", "game"], [None]], ids=str)
def test_a_send_goes_to_the_group_of_each_room(rooms: list[str | None]) -> None:
    link = Link()
    publish(link, "default", rooms, frame := Frame("news||0"))
    assert link.published == [([group_name("default", room) for room in rooms], frame, [])]


def test_a_send_that_names_very_many_goes_once_through_the_group_of_the_namespace() -> None:
    link = Link()
    rooms = [str(number) for number in range(33)]
    publish(link, "default", rooms, frame := Frame("news||0", rooms=tuple(rooms), emission="e"))
    groups = [group_name("default", room) for room in rooms]
    assert link.published == [([group_name("default", None)], frame, groups)]
