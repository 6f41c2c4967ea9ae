"""Whether connections may be alive, as a hub alone knows it; for others see tests/rooms/test_across_processes.py."""

from types import SimpleNamespace
from typing import Any

import pytest

from django_etp.hub.living import living

OWN, OTHER, GONE = "0" * 16, "1" * 16, "2" * 16


@pytest.mark.parametrize(("knows_others", "expected"), [(True, False), (False, True)])
def test_connections_of_hubs_that_are_not_known_are_alive_only_to_a_new_hub(knows_others: bool, expected: bool) -> None:
    link: Any = SimpleNamespace(others={OTHER}, knows_others=knows_others)
    members: Any = {f"{OWN}.1"}
    may_live = living(OWN, link, members)
    assert may_live(f"{OWN}.1")
    assert not may_live(f"{OWN}.2")
    assert may_live(f"{OTHER}.1")
    assert may_live(f"{GONE}.1") is expected
