"""What a link calls on its hub."""

import inspect

import pytest

from django_etp.cluster.host import Host
from django_etp.hub.hub import Hub

METHODS = [name for name in vars(Host) if inspect.isfunction(getattr(Host, name)) and not name.startswith("_")]


@pytest.mark.parametrize("name", METHODS)
def test_a_hub_has_each_method_with_the_same_arguments(name: str) -> None:
    assert inspect.signature(getattr(Hub, name)) == inspect.signature(getattr(Host, name))
