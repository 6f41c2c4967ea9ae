"""What runs in a server process beside its connections."""

import pytest

from django_etp.hub.hub import Hub
from django_etp.hub.process import serving_hub
from django_etp.server import companions
from django_etp.server.serving import current_serving
from tests.support.inprocess import Wire, until

pytestmark = pytest.mark.usefixtures("etp_registry")


class Counting:
    """Work that does nothing but count."""

    def __init__(self) -> None:
        self.began: list[Hub] = []
        self.ended = 0

    def start(self, hub: Hub) -> None:
        self.began.append(hub)

    async def stop(self) -> None:
        self.ended += 1


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Counting:
    monkeypatch.setattr(companions, "_companions", [])
    counting = Counting()
    companions.register_companion(counting)
    return counting


async def test_it_begins_with_the_first_connection_and_goes_on_after_the_last(counting: Counting) -> None:
    async with Wire(), Wire():
        assert counting.began == [serving_hub()]
    async with Wire():
        pass
    assert counting.ended == 0


async def test_it_ends_with_the_server(counting: Counting) -> None:
    wire = await Wire().open()
    current_serving().expect_end()
    await wire.leave()
    await until(lambda: counting.ended == 1)
    await Wire().open()
    assert len(counting.began) == 2
    await serving_hub().stop()
    assert counting.ended > 1
