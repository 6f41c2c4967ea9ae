"""The system checks of the store of histories."""

from typing import Any

import pytest
from django.core.checks import CheckMessage, run_checks

from django_etp import Connection, History, etp_room

PUBSUB = {"default": {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer", "CONFIG": {"prefix": "chat"}}}
REDIS = {"BACKEND": "django_etp.history.RedisHistory", "OPTIONS": {"url": "redis://127.0.0.1"}}


def found() -> list[CheckMessage]:
    return [message for message in run_checks() if message.id in ("django_etp.E401", "django_etp.W401")]


@pytest.fixture
def room(etp_registry: Any) -> None:
    @etp_room("orders/<int:pk>", history=History())
    async def order(connection: Connection, pk: int) -> None: ...


@pytest.mark.usefixtures("room")
def test_memory_beside_a_layer_that_spans_processes_is_a_warning(settings: Any) -> None:
    settings.CHANNEL_LAYERS = PUBSUB
    [message] = found()
    assert message.id == "django_etp.W401"
    settings.ETP = {"HISTORY": {"BACKEND": "django_etp.history.MemoryHistory"}}
    assert len(found()) == 1
    settings.ETP = {"HISTORY": REDIS}
    assert found() == []


@pytest.mark.usefixtures("room")
@pytest.mark.parametrize(
    "layers", [{}, {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}, {"default": 5}]
)
def test_memory_is_fine_for_one_process(settings: Any, layers: Any) -> None:
    settings.CHANNEL_LAYERS = layers
    assert found() == []


def test_without_a_room_with_history_nothing_is_checked(settings: Any) -> None:
    settings.CHANNEL_LAYERS = PUBSUB
    assert found() == []


@pytest.mark.parametrize(
    "history", [{"BACKEND": "django_etp.history.Other"}, {"BACKEND": REDIS["BACKEND"]}, {"OPTIONS": {"x": 1}}]
)
def test_a_store_that_cannot_be_made_is_an_error(settings: Any, history: Any) -> None:
    settings.ETP = {"HISTORY": history}
    [message] = found()
    assert message.id == "django_etp.E401"
    assert "ETP['HISTORY']" in str(message.hint)


def test_a_setting_of_another_type_is_reported_once(settings: Any) -> None:
    settings.ETP = {"HISTORY": 5}
    assert found() == []
    assert "django_etp.E001" in [message.id for message in run_checks()]
