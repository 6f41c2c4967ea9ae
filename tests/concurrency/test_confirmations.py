"""Whether something was taken: for tasks that wait, and for others that are told."""

import asyncio
import traceback

import pytest

from django_etp.concurrency.confirmations import Confirmation, confirmed, settle_after
from django_etp.exceptions import LayerUnavailable


def test_who_listens_is_told_once_it_is_settled() -> None:
    confirmation, told = Confirmation(), []
    confirmation.notify(told.append)
    assert told == []
    confirmation.settle()
    assert told == [None]
    confirmation.notify(told.append)
    assert told == [None, None]


def test_what_is_said_first_holds() -> None:
    confirmation, told = Confirmation(), []
    confirmation.settle(LayerUnavailable("full"))
    confirmation.settle()
    confirmation.notify(told.append)
    (refusal,) = told
    assert isinstance(refusal, LayerUnavailable)
    assert str(refusal) == "full"


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


async def refused(confirmation: Confirmation) -> LayerUnavailable:
    """Return what a waiter of its own is told."""
    with pytest.raises(LayerUnavailable) as refusal:
        await confirmed([confirmation])
    return refusal.value


def depth(error: BaseException) -> int:
    """Return how many frames an error's traceback has."""
    return len(list(traceback.walk_tb(error.__traceback__)))


@pytest.mark.parametrize("is_early", [True, False])
async def test_each_who_waits_gets_an_error_of_its_own(is_early: bool) -> None:
    """Each that raises the same one would make its traceback longer, and keep alive what is in the frames."""
    confirmation = Confirmation()
    waiting = [] if is_early else [asyncio.create_task(refused(confirmation)) for _ in range(5)]
    await asyncio.sleep(0)
    confirmation.settle(LayerUnavailable("full"))
    refusals = [await task for task in waiting] or [await refused(confirmation) for _ in range(5)]
    assert len({id(refusal) for refusal in refusals}) == 5
    assert len({depth(refusal) for refusal in refusals}) == 1


@pytest.mark.parametrize("is_early", [True, False])
def test_each_who_listens_is_told_an_error_of_its_own(is_early: bool) -> None:
    confirmation, told = Confirmation(), []
    for _ in range(0 if is_early else 3):
        confirmation.notify(told.append)
    confirmation.settle(LayerUnavailable("full"))
    for _ in range(3 if is_early else 0):
        confirmation.notify(told.append)
    assert len({id(refusal) for refusal in told}) == 3


async def test_an_error_of_ones_own_says_what_was_said() -> None:
    confirmation, told = Confirmation(), []
    error = LayerUnavailable("full")
    error.__cause__ = cause = OSError("the broker is away")
    confirmation.settle(error)
    confirmation.notify(told.append)
    for refusal in (*told, await refused(confirmation)):
        assert refusal is not error
        assert (type(refusal), str(refusal), refusal.__cause__) == (LayerUnavailable, "full", cause)


async def test_who_is_cancelled_leaves_the_others_waiting() -> None:
    confirmation = Confirmation()
    cancelled, other = (asyncio.create_task(confirmed([confirmation])) for _ in "12")
    await asyncio.sleep(0)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    confirmation.settle()
    await asyncio.wait_for(other, 5)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_confirmation_is_settled_with_the_last_of_others_whose_errors_do_not_count(count: int) -> None:
    confirmation, others = Confirmation(), [Confirmation() for _ in range(count)]
    settle_after(confirmation, others)
    outcomes: list[Exception | None] = []
    confirmation.notify(outcomes.append)
    for other in others:
        assert outcomes == []
        other.settle(LayerUnavailable("refused"))
    assert outcomes == [None]
