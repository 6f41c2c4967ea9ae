"""docs/deployment.md's nginx brings all clients back while the servers behind it drain and restart, one by one.

`make deploys` does the same with 2,000 clients, on servers of each kind.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from tests.support.deploys import WAIT, Deployment, deployed
from tests.support.nginx import NGINX
from tests.support.peers import eventually

CLIENTS = 20
DRAIN_SECONDS = 0.3
INTERVAL = 0.05

pytestmark = [
    pytest.mark.nginx,
    pytest.mark.skipif(not NGINX, reason="nginx is missing"),
    pytest.mark.asyncio(loop_scope="module"),
]


@dataclass
class Deploy:
    """A rolling restart that is over, the ids of the connections before it, and the last number that was sent."""

    deployment: Deployment
    ids: set[str | None]
    last: int


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def deploy(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Deploy]:
    kinds = ["uvicorn-etp", "daphne"]
    async with deployed(tmp_path_factory.mktemp("proxy"), kinds, CLIENTS, drain_seconds=DRAIN_SECONDS) as deployment:
        await all_see_all(deployment)
        for visitor in deployment.visitors:
            visitor.watch_members()
        ids = {visitor.client.id for visitor in deployment.visitors}
        deployment.start_sending(INTERVAL)
        first, second = deployment.servers
        await deployment.restart(first, by_command=True)
        await deployment.restart(second)
        await deployment.all_are_back()
        yield Deploy(deployment, ids, await deployment.stop_sending())


async def test_all_clients_are_back_within_seconds(deploy: Deploy) -> None:
    assert not {visitor.client.id for visitor in deploy.deployment.visitors} & deploy.ids
    absences = [absence for visitor in deploy.deployment.visitors for absence in visitor.absences]
    assert len(absences) >= CLIENTS
    assert max(absences) < 3
    assert min(absences) >= 0.15  # the servers ask for 0.2 s


async def test_no_member_flickers(deploy: Deploy) -> None:
    await all_see_all(deploy.deployment)
    for visitor in deploy.deployment.visitors:
        assert set(visitor.counts) == {CLIENTS}


async def test_a_room_with_history_loses_nothing(deploy: Deploy) -> None:
    for visitor in deploy.deployment.visitors:
        heard = visitor.heard["record"]
        assert heard == list(range(heard[0], deploy.last + 1))


async def test_a_room_without_history_repeats_nothing(deploy: Deploy) -> None:
    for visitor in deploy.deployment.visitors:
        heard = visitor.heard["hall"]
        assert heard == sorted(set(heard))


async def all_see_all(deployment: Deployment) -> None:
    async def probe() -> set[int]:
        return {len(visitor.hall.members) if visitor.hall.is_joined else 0 for visitor in deployment.visitors}

    await eventually(probe, lambda counts: counts == {CLIENTS}, timeout=WAIT)
