"""A connection's data, read and changed through the rooms API; and its queries on the wire."""

from typing import Any

import pytest

from django_etp import ConnectionClosed
from django_etp.hub.process import serving_hub
from django_etp.hub.queries import answer, read_query
from django_etp.rooms.data import ChangeData, ReadData
from tests.support.rooms import Call, clients

pytestmark = pytest.mark.usefixtures("etp_registry")


async def test_data_is_changed_and_read(call: Call) -> None:
    async with clients("") as (client,):
        assert await call("data", client.id) == {}
        assert await call("update_data", client.id, {"seat": 1, "row": 2}) == {"seat": 1, "row": 2}
        assert await call("update_data", client.id, {"seat": 3}, remove=["row", "never"]) == {"seat": 3}
        assert await call("data", client.id) == client.connection.data == {"seat": 3}


async def test_keys_to_remove_that_are_not_text_are_refused(call: Call) -> None:
    async with clients("lobby") as (client,):
        with pytest.raises(TypeError, match="remove= takes keys, which are str, got int: 1"):
            await call("update_data", client.id, {}, remove=[1])


async def test_text_in_place_of_keys_to_remove_is_refused(call: Call) -> None:
    async with clients("lobby") as (client,):
        with pytest.raises(TypeError, match="remove= takes keys, as a list, got the str 'seat'"):
            await call("update_data", client.id, {}, remove="seat")


@pytest.mark.parametrize("values", [{1: "a"}, {"a": object()}], ids=["key", "value"])
async def test_values_that_json_cannot_hold_change_nothing(call: Call, values: Any) -> None:
    async with clients("") as (client,):
        await call("update_data", client.id, {"seat": 1})
        with pytest.raises(TypeError):
            await call("update_data", client.id, values, remove=["seat"])
        assert await call("data", client.id) == {"seat": 1}


# Between processes, as releases before query classes did it


async def test_the_queries_of_old_processes_are_answered_as_they_expect() -> None:
    change = ["default", "id", '{"seat": 1}', ["row"]]
    query = ChangeData.create("default", "id", {"seat": 1}, ["row"])
    assert read_query("change_data", change) == query
    assert (query.action, query.to_plain()) == ("change_data", change)
    assert read_query("read_data", ["default", "id"]) == ReadData("default", "id")
    async with clients("") as (client,):
        hub = serving_hub()
        assert await answer(hub, "change_data", ["default", client.id, *change[2:]]) == '{"seat": 1}'
        assert await answer(hub, "read_data", ["default", client.id]) == '{"seat": 1}'
        assert await answer(hub, "read_data", ["default", "gone"]) is None


def test_the_replies_of_old_processes_are_read() -> None:
    assert ReadData("default", "id").merge([None, '{"seat": 1}']) == {"seat": 1}
    with pytest.raises(ConnectionClosed):
        ReadData("default", "id").merge([None])
