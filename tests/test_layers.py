"""The layer objects of one hub."""

from typing import Any

import pytest
from channels.layers import BaseChannelLayer

from django_etp.layers import Layers


class ForgetfulLayer(BaseChannelLayer):
    def __init__(self, group_expiry: Any) -> None:
        super().__init__()
        self.group_expiry = group_expiry


@pytest.mark.parametrize(("group_expiry", "expected"), [(60, 60), (0.5, 0.5), (0, None), (-1, None), (None, None)])
def test_expiry_of_nothing_means_that_groups_are_kept(settings: Any, group_expiry: Any, expected: float | None) -> None:
    settings.CHANNEL_LAYERS = {
        "default": {"BACKEND": f"{__name__}.ForgetfulLayer", "CONFIG": {"group_expiry": group_expiry}}
    }
    assert Layers("default").group_expiry == expected


@pytest.mark.parametrize(("hosts", "expected"), [(1, False), (2, True)])
def test_a_layer_with_several_hosts_is_spread(settings: Any, hosts: int, expected: bool) -> None:
    config = {"hosts": [("127.0.0.1", 1 + number) for number in range(hosts)]}  # it connects when it is first used
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": config}}
    assert Layers("default").is_spread is expected


def test_a_layer_without_hosts_is_not_spread() -> None:
    assert not Layers("default").is_spread
