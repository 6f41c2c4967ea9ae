"""The signals about users, with connections of the testing kit."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth import get_user_model

from django_etp.server.serving import current_serving
from django_etp.signals import user_offline, user_online
from tests.support.declared import guest
from tests.support.inprocess import until
from tests.support.rooms import clients

pytestmark = pytest.mark.usefixtures("etp_registry")


@pytest.fixture
def got() -> Iterator[list[Any]]:
    """The signals that were sent: ("online" or "offline", the sender, the id of the user)."""
    signals: list[Any] = []

    def online(sender: Any, user_id: Any, **_: Any) -> None:
        signals.append(("online", sender, user_id))

    async def offline(sender: Any, user_id: Any, **_: Any) -> None:
        signals.append(("offline", sender, user_id))

    user_online.connect(online)
    user_offline.connect(offline)
    yield signals
    user_online.disconnect(online)
    user_offline.disconnect(offline)


async def test_each_is_sent_once_for_all_connections_of_a_user(got: list[Any], settings: Any) -> None:
    settings.ETP = {"PRESENCE_GRACE": 0.2}
    user = get_user_model()(pk=7)
    async with guest(user=user), guest(), guest(user=user, namespace="other"):
        await until(lambda: got)
    await until(lambda: len(got) > 1)
    assert got == [("online", type(user), 7), ("offline", type(user), 7)]


async def test_without_receivers_nothing_is_watched() -> None:
    async with clients("lobby"):
        hub = current_serving().hub
        assert hub.membership.user_changed is None
        assert hub.presence is None
