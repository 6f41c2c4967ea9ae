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
