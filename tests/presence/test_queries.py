"""Questions for shares: their pages."""

import pytest

from django_etp.exceptions import EtpError
from django_etp.hub.queries import read_query
from django_etp.presence.messages import room_id
from django_etp.presence.queries import MOST_IN_PAGE, OneShare, SharesOfAll
from tests.support.hurry import hurried
from tests.support.presence import ROOM, hubs, sit

pytestmark = pytest.mark.usefixtures("layer")
ID = room_id(*ROOM)


@hurried
async def test_a_share_is_read_page_by_page():
    async with hubs(2) as (here, there):
        for number in range(MOST_IN_PAGE + 1):
            await sit(there, f"{number:05}")
        first = await OneShare("default", ID, there.id, "").ask(here, 1.0)
        rest = await OneShare("default", ID, there.id, first.entries[-1].key).ask(here, 1.0)
        assert [each.key for each in (*first.entries, *rest.entries)] == [f"{n:05}" for n in range(MOST_IN_PAGE + 1)]
        assert (first.is_last, rest.is_last, len(rest.entries)) == (False, True, 1)
        pages = await SharesOfAll("default", ID).ask(here, 1.0)
        assert {page.hub: len(page.entries) for page in pages} == {here.id: 0, there.id: MOST_IN_PAGE}


@hurried
async def test_a_hub_without_presence_has_no_entries():
    async with hubs(2) as (here, there):
        there.presence = None
        page = await OneShare("default", ID, there.id, "").ask(here, 1.0)
        assert (page.entries, page.is_last) == ((), True)


@hurried
async def test_a_process_that_is_gone_has_no_share():
    async with hubs(1) as (hub,):
        with pytest.raises(EtpError):
            await OneShare("default", ID, "f" * 16, "").ask(hub, 0.5)


@hurried
async def test_a_reply_that_cannot_be_read_counts_as_none():
    async with hubs(1) as (hub,):
        query = SharesOfAll("default", ID)
        with pytest.raises(EtpError, match="cannot be read"):
            query._read([["a", 1, [["forged"]], True]])
        assert read_query(query.action, query.to_plain()) == query
        await hub.settle(1)
