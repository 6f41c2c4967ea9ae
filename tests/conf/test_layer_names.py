"""Names of groups and channels: as in earlier versions without a site, and of the site's own with one."""

from typing import Any

import pytest
from channels.layers import get_channel_layer

from django_etp.conf.layer_names import ask_group, channel_prefix, control_group, hub_group, room_group

HUB, DIGEST = "0123456789abcdef", "d" * 40


def names() -> list[str]:
    return [channel_prefix(), control_group(), ask_group(HUB), hub_group(HUB), room_group(DIGEST)]


@pytest.mark.parametrize("etp", [{}, {"SITE": ""}])
def test_without_a_site_the_names_are_those_of_earlier_versions(settings: Any, etp: dict[str, object]) -> None:
    settings.ETP = etp
    assert names() == ["etp", "etp.control", f"etp.ask.{HUB}", f"etp.hub.{HUB}", f"etp.room.{DIGEST}"]


def test_every_name_has_the_site_in_it(settings: Any) -> None:
    settings.ETP = {"SITE": "shop"}
    assert [name.replace("etp.shop", "etp") for name in names()] == [
        "etp",
        "etp.control",
        f"etp.ask.{HUB}",
        f"etp.hub.{HUB}",
        f"etp.room.{DIGEST}",
    ]
    assert all(name.startswith("etp.shop") for name in names())


def test_two_sites_share_no_group(settings: Any) -> None:
    sites = ["", "a", "A", "a.b", "b", "room", "control", "ask", "a.room", ".", HUB]
    found: list[str] = []
    for site in sites:
        settings.ETP = {"SITE": site}
        found += names()[1:]
    assert len(set(found)) == len(found)


def test_the_longest_site_makes_valid_names(settings: Any) -> None:
    settings.ETP = {"SITE": "x" * 28}
    layer: Any = get_channel_layer()
    _, *groups = names()
    assert all(map(layer.require_valid_group_name, groups))
    # channels-redis adds the most: 32 characters for the process and 32 for the channel.
    assert layer.require_valid_channel_name(f"{channel_prefix()}.{'p' * 32}!{'c' * 32}")
