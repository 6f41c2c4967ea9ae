"""The query for the facts of all processes."""

import pytest

from django_etp.cluster.messages import Malformed
from django_etp.doctor.processes import DescribeProcesses
from django_etp.hub.process import serving_hub
from django_etp.hub.queries import answer, read_query
from tests.support.inprocess import Wire

pytestmark = pytest.mark.usefixtures("etp_registry")


async def test_a_hub_replies_with_plain_values_that_make_its_facts() -> None:
    async with Wire():
        hub = serving_hub()
        reply = await answer(hub, "doctor", ["", "n"])
    assert all(isinstance(value, str | float | bool) for value in reply)
    (facts,) = DescribeProcesses("", "n").merge([reply])
    assert facts.hub == hub.id


def test_what_a_later_version_adds_is_ignored() -> None:
    (facts,) = DescribeProcesses("", "n").merge([["hub", "name", 1.0, "9.9", "key", "settings", True, "more"]])
    assert facts.version == "9.9"


def test_a_query_of_another_form_is_refused() -> None:
    with pytest.raises(Malformed):
        read_query("doctor", ["", 7])
