"""What the package has to do itself for each kind of channel layer."""

from typing import Any

import pytest
from channels.layers import BaseChannelLayer, InMemoryChannelLayer
from channels_redis.core import RedisChannelLayer
from channels_redis.pubsub import RedisPubSubChannelLayer

from django_etp.cluster.kinds import confirms_joins, has_one_server, is_pubsub


class OwnPubSubLayer(RedisPubSubChannelLayer):
    """A project's own."""


@pytest.mark.parametrize(
    ("kind", "confirms", "pubsub"),
    [
        (InMemoryChannelLayer, True, False),
        (RedisChannelLayer, True, False),
        (RedisPubSubChannelLayer, False, True),
        (OwnPubSubLayer, False, True),
        (BaseChannelLayer, False, False),
    ],
)
def test_the_kinds_of_layers(kind: Any, confirms: bool, pubsub: bool) -> None:
    assert (confirms_joins(kind()), is_pubsub(kind())) == (confirms, pubsub)


@pytest.mark.parametrize(
    ("config", "is_one"),
    [
        ({}, True),
        ({"CONFIG": {}}, True),
        ({"CONFIG": {"hosts": "redis://a"}}, True),
        ({"CONFIG": {"hosts": [("a", 1)]}}, True),
        ({"CONFIG": {"hosts": [("a", 1), ("b", 1)]}}, False),
        ({"CONFIG": {"hosts": range(1)}}, False),
    ],
    ids=str,
)
def test_a_layer_has_one_server_if_its_settings_show_it(settings: Any, config: dict[str, Any], is_one: bool) -> None:
    settings.CHANNEL_LAYERS = {"own": {"BACKEND": "x", **config}}
    assert has_one_server("own") is is_one
