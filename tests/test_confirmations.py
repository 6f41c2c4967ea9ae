"""Whether something was taken: for tasks that wait, and for others that are told."""

import asyncio

import pytest

from django_etp.confirmations import Confirmation, confirmed
from django_etp.exceptions import LayerUnavailable


def test_who_listens_is_told_once_it_is_settled() -> None:
    confirmation, told = Confirmation(), []
    confirmation.tell(told.append)
    assert told == []
    confirmation.settle()
    assert told == [None]
    confirmation.tell(told.append)
    assert told == [None, None]


def test_what_is_said_first_holds() -> None:
    confirmation, told = Confirmation(), []
    confirmation.settle(refusal := LayerUnavailable("full"))
    confirmation.settle()
    confirmation.tell(told.append)
    assert told == [refusal]


async def test_who_waits_goes_on_once_all_is_settled() -> None:
    confirmations = [Confirmation(), Confirmation()]
    waiting = asyncio.create_task(confirmed(confirmations))
    confirmations[1].settle()
    await asyncio.sleep(0.01)
    assert not waiting.done()
    confirmations[0].settle()
    await asyncio.wait_for(waiting, 5)


@pytest.mark.parametrize("is_early", [True, False])
async def test_who_waits_gets_the_error(is_early: bool) -> None:
    confirmation = Confirmation()
    if is_early:
        confirmation.settle(LayerUnavailable("full"))
    waiting = asyncio.create_task(confirmed([confirmation]))
    await asyncio.sleep(0)
    confirmation.settle(LayerUnavailable("full"))
    with pytest.raises(LayerUnavailable, match="full"):
        await asyncio.wait_for(waiting, 5)


async def test_who_is_cancelled_leaves_the_others_waiting() -> None:
    confirmation = Confirmation()
    cancelled, other = (asyncio.create_task(confirmed([confirmation])) for _ in "12")
    await asyncio.sleep(0)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    confirmation.settle()
    await asyncio.wait_for(other, 5)
