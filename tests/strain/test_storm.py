"""Thousands that come at once, and go at once, leave nothing behind, in the servers or in the broker."""

import re
import resource
from collections.abc import Iterator

import pytest

from django_etp.hub.names import group_name
from django_etp.presence.messages import EVERYBODY
from tests.support.clusters import start_script
from tests.support.crowd import PINGLESS, Crowd
from tests.support.servers import Server, start_server
from tests.support.valkey import LAYERS, Valkey, start_valkey

CLIENTS = 2000
PRESENCE = group_name("", EVERYBODY)

EACH_LAYER = pytest.mark.parametrize("layer", LAYERS)
PATIENT = pytest.mark.timeout(400)

pytestmark = pytest.mark.strain


@pytest.fixture(autouse=True)
def _many_files() -> Iterator[None]:
    """Let this process, and those it starts, hold a socket for each client."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4 * CLIENTS)), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def room_groups(valkey: Valkey, layer: str) -> list[str]:
    """Return the groups of rooms in the broker, but that in which servers with presence listen to each other."""
    if layer == "redis":
        groups = valkey.keys("*:group:etp.room.*")
    else:
        groups = [channel.decode() for channel in valkey.command("PUBSUB", "CHANNELS", "*__group__etp.room.*")]
    return [group for group in groups if PRESENCE not in group]


def complaints(server: Server) -> list[str]:
    return re.findall(r".*(?:refused a join or leave|Too many connections|Traceback).*", server.log)


@PATIENT
@EACH_LAYER
@pytest.mark.parametrize("are_accepted", [True, False], ids=["once accepted", "in mid-handshake"])
async def test_clients_that_vanish_at_once_leave_nothing_behind(layer, are_accepted):
    with start_valkey() as valkey:
        settings = {"CHANNEL_LAYERS": valkey.layers(layer)}
        # daphne gives a handshake 5 s, which a storm on a slow machine may take.
        patience = {"daphne": ["--websocket_connect_timeout", "60"], "uvicorn": []}
        with (
            start_server("daphne", settings=settings, options=[*PINGLESS["daphne"], *patience["daphne"]]) as daphne,
            start_server("uvicorn", settings=settings, options=PINGLESS["uvicorn"]) as uvicorn,
            start_script(settings) as script,
            Crowd() as crowd,
        ):
            for index, server in enumerate((daphne, uvicorn)):
                own = range(index * CLIENTS // 2, (index + 1) * CLIENTS // 2)
                crowd.begin(server, [f"/cluster/?everyone,own{number}" for number in own])
            if are_accepted:
                crowd.wait_for(lambda: all(peer.status or peer.is_ended for peer in crowd.peers), timeout=120)
                assert [peer for peer in crowd.peers if not peer.is_connected] == []
                assert (await script.call("count", "everyone", timeout=30))["result"] == CLIENTS
                assert len((await script.call("names", timeout=30))["result"]) == CLIENTS + 1
            else:
                crowd.wait_for(lambda: sum(peer.status == 101 for peer in crowd.peers) > CLIENTS // 10, timeout=120)
            crowd.vanish()
            crowd.wait_for(lambda: room_groups(valkey, layer) == [], timeout=120, interval=0.2)
            assert (await script.call("count", "everyone", timeout=30))["result"] == 0
            assert (await script.call("names", timeout=30))["result"] == []
            assert (await script.call("connections", timeout=30))["result"] == []
            for server in (daphne, uvicorn):
                server.stop()
                assert complaints(server) == []
                assert server.complaints == []
