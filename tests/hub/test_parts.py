"""The parts of a hub in higher packages: what it asks of them."""

import pytest

from django_etp.cluster.gaps import Loss
from django_etp.hub.names import group_name
from django_etp.presence.messages import EVERYBODY
from django_etp.presence.tracker import tracker_of
from tests.support.hurry import hurried
from tests.support.presence import hubs, reset_layer


@pytest.fixture(autouse=True)
def layer(settings: object) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "tests.support.presence.CutLayer"}}  # type: ignore[attr-defined]
    reset_layer()


@hurried
async def test_lost_messages_of_presence_are_asked_for_again_and_not_reported():
    async with hubs(1) as (hub,):
        reported = []

        async def report(namespace: str, error: Exception) -> None:
            reported.append(error)

        hub.report = report
        tracker_of(hub).begin()
        await hub.settle(1)
        hub.report_loss(Loss(group_name("", EVERYBODY), 1, 1))
        await hub.settle(1)
        assert reported == []
        hub.report_loss(Loss(group_name("", "lobby"), 1, 1))
        await hub.settle(1)
        assert len(reported) == 1
