"""What the script of the page gets, for the parameters of a URL."""

import asyncio
from typing import Any

import pytest
from django.http import QueryDict

from django_etp.exceptions import IncompleteAnswer, LayerUnavailable
from django_etp.hub.process import serving_hub
from django_etp.live import pages
from tests.support.rooms import clients

pytestmark = pytest.mark.usefixtures("etp_registry")


async def load(page: Any, query: str = "") -> dict[str, Any]:
    """Return a page as a view in a thread does."""
    return dict(await asyncio.to_thread(page, QueryDict(query.removeprefix("?"))))


async def test_the_links_lead_through_all_rows_and_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "_SIZE", 2)
    async with clients("a", "b", "c", "d", "e") as peers:
        ids = [peer.id for peer in reversed(peers)]
        first = await load(pages.connections)
        second = await load(pages.connections, first["next"])
        third = await load(pages.connections, second["next"])
        assert [row["id"] for page in (first, second, third) for row in page["rows"]] == ids
        assert [page["start"] for page in (first, second, third)] == [0, 2, 4]
        assert (first["total"], first["previous"], third["next"]) == (5, None, None)
        assert await load(pages.connections, third["previous"]) == second
        rooms = await load(pages.rooms)
        rooms = await load(pages.rooms, rooms["next"])
        assert [row["name"] for row in rooms["rows"]] == ["c", "d"]


async def test_links_keep_the_search_and_the_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "_SIZE", 1)
    hostile = "a&q=b <script>"
    async with clients("", "") as peers:
        for peer in peers:
            await peer.connection.ajoin(hostile)
        query = QueryDict(mutable=True)
        query.update({"namespace": "default", "name": hostile, "q": ""})
        first = await load(pages.room, query.urlencode())
        second = await load(pages.room, first["next"])
        assert {row["id"] for page in (first, second) for row in page["rows"]} == {peer.id for peer in peers}


async def test_a_connection_has_its_rooms_and_one_that_is_gone_has_no_row() -> None:
    async with clients("lobby") as (client,):
        found = await load(pages.connection, f"id={client.id}")
        assert (found["row"]["id"], found["rooms"], found["problem"]) == (client.id, ["lobby"], "")
        assert (await asyncio.to_thread(pages.find, client.id)).id == client.id  # type: ignore[union-attr]
    assert await load(pages.connection, f"id={client.id}") == {"row": None, "problem": ""}
    assert await asyncio.to_thread(pages.find, client.id) is None


async def test_every_page_has_the_summary() -> None:
    async with clients("lobby") as (_,):
        for page in (pages.connections, pages.rooms, pages.room):
            summary = (await load(page))["summary"]
            assert (summary["connections"], summary["processes"]) == (1, 1)


async def test_wrong_parameters_are_refused() -> None:
    for query in ("after=1.0", "after=soon&after=id", "before=1&before=2&before=3"):
        with pytest.raises(ValueError, match="key"):
            await load(pages.connections, query)


async def test_a_long_search_is_cut() -> None:
    async with clients(""):
        assert (await load(pages.connections, f"q={'x' * 10_000}"))["rows"] == []


async def test_a_page_without_the_replies_of_all_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async with clients("lobby") as (client,):
        ask = serving_hub().ask

        async def incomplete(*args: Any, **options: Any) -> Any:
            raise IncompleteAnswer("1 of 2 processes sent no result", answer=await ask(*args, **options))

        monkeypatch.setattr(serving_hub(), "ask", incomplete)
        page = await load(pages.connections)
        assert [row["id"] for row in page["rows"]] == [client.id]
        assert page["problem"] == "1 of 2 processes sent no result"
        assert (await load(pages.connection, f"id={client.id}"))["row"]["id"] == client.id

        async def unavailable(*args: Any, **options: Any) -> Any:
            raise LayerUnavailable("the broker is away")

        monkeypatch.setattr(serving_hub(), "ask", unavailable)
        page = await load(pages.connections)
        assert (page["rows"], page["problem"]) == ([], "the broker is away")
        assert await load(pages.connection, f"id={client.id}") == {"row": None, "problem": "the broker is away"}


def test_in_a_process_that_reaches_no_connection_the_page_is_empty() -> None:
    assert pages.connections(QueryDict())["rows"] == []
