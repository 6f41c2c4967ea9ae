"""Questions of one connection: numbers ↔ futures."""

import asyncio

import pytest

from django_etp.exceptions import AckTimeout, ConnectionClosed, EtpError, EventFailed
from django_etp.protocol import Event
from django_etp.protocol.acks import PendingAcks


async def test_questions_are_numbered_from_1_up() -> None:
    acks = PendingAcks()
    assert [acks.open()[0] for _ in range(3)] == [1, 2, 3]


async def test_numbers_are_not_used_again() -> None:
    acks = PendingAcks()
    acks.discard(acks.open()[0])
    assert acks.open()[0] == 2


async def test_an_answer_reaches_the_question_of_its_number() -> None:
    acks = PendingAcks()
    first, second = acks.open(), acks.open()
    answer = Event("__ack_ask", second[0], "b")
    assert acks.settle(answer)
    assert await acks.wait(*second, timeout=1) == answer
    assert not first[1].done()


async def test_the_name_of_an_answer_is_not_compared() -> None:
    acks = PendingAcks()
    question = acks.open()
    assert acks.settle(Event("__ack_something_else", question[0], "yes"))
    assert (await acks.wait(*question, timeout=1)).data == "yes"


@pytest.mark.parametrize("ack_id", [0, 2, -1, 2**63 - 1])
async def test_an_answer_that_nobody_waits_for_is_dropped(ack_id: int) -> None:
    acks = PendingAcks()
    acks.open()
    assert not acks.settle(Event("__ack_ask", ack_id))


async def test_the_second_answer_to_a_question_is_dropped() -> None:
    acks = PendingAcks()
    question = acks.open()
    assert acks.settle(Event("__ack_ask", question[0], "first"))
    assert not acks.settle(Event("__ack_ask", question[0], "second"))
    assert (await acks.wait(*question, timeout=1)).data == "first"


async def test_a_failure_in_place_of_an_answer_is_raised_from_its_question() -> None:
    acks = PendingAcks()
    question = acks.open()
    assert acks.settle(Event("__err_ask", question[0], '{"code": "rate_limited", "message": "Not so fast"}'))
    with pytest.raises(EventFailed, match="rate_limited: Not so fast") as raised:
        await acks.wait(*question, timeout=1)
    assert raised.value.is_from_peer


async def test_a_failure_that_nobody_waits_for_is_dropped() -> None:
    acks = PendingAcks()
    assert not acks.settle(Event("__err_ask", 1, '{"code": "rate_limited"}'))


async def test_a_question_fails_once_also_before_the_wait() -> None:
    acks = PendingAcks()
    question = acks.open()
    assert acks.fail(question[0], LookupError("gone"))
    assert not acks.fail(question[0], LookupError("again"))
    with pytest.raises(LookupError, match="gone"):
        await acks.wait(*question, timeout=1)


async def test_a_question_without_an_answer_in_time_raises() -> None:
    acks = PendingAcks()
    with pytest.raises(AckTimeout, match=r"within 0\.01 s"):
        await acks.wait(*acks.open(), timeout=0.01)
    assert len(acks) == 0


async def test_the_timeout_is_a_timeout_error_and_an_etp_error() -> None:
    acks = PendingAcks()
    with pytest.raises(TimeoutError) as raised:
        await acks.wait(*acks.open(), timeout=0)
    assert isinstance(raised.value, EtpError)


async def test_an_answer_after_the_timeout_is_dropped() -> None:
    acks = PendingAcks()
    question = acks.open()
    with pytest.raises(AckTimeout):
        await acks.wait(*question, timeout=0)
    assert not acks.settle(Event("__ack_ask", question[0]))


async def test_a_timeout_of_the_caller_is_not_taken_for_the_questions_own() -> None:
    acks = PendingAcks()
    with pytest.raises(TimeoutError) as raised:
        async with asyncio.timeout(0.01):
            await acks.wait(*acks.open(), timeout=5)
    assert not isinstance(raised.value, AckTimeout)
    assert len(acks) == 0


async def test_the_sending_is_part_of_the_time_of_a_question() -> None:
    acks = PendingAcks()
    with pytest.raises(AckTimeout, match=r"within 0\.01 s"):
        async with asyncio.timeout(5):
            await acks.wait(*acks.open(), timeout=0.01, sending=_send_for_ever())
    assert len(acks) == 0


async def test_a_question_is_sent_before_its_answer_is_waited_for() -> None:
    acks = PendingAcks()
    ack_id, future = acks.open()

    async def send() -> None:
        await asyncio.sleep(0)
        assert acks.settle(Event("__ack_ask", ack_id, "yes"))

    assert (await acks.wait(ack_id, future, timeout=5, sending=send())).data == "yes"


async def test_a_question_that_cannot_be_sent_is_forgotten() -> None:
    acks = PendingAcks()

    async def fail() -> None:
        raise ConnectionClosed("broken")

    with pytest.raises(ConnectionClosed, match="broken"):
        await acks.wait(*acks.open(), timeout=5, sending=fail())
    assert len(acks) == 0


async def test_a_question_whose_sending_is_cancelled_is_forgotten() -> None:
    acks = PendingAcks()
    waiting = asyncio.create_task(acks.wait(*acks.open(), timeout=5, sending=_send_for_ever()))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert len(acks) == 0


async def _send_for_ever() -> None:
    await asyncio.Event().wait()


async def test_a_cancelled_wait_forgets_its_question() -> None:
    acks = PendingAcks()
    waiting = asyncio.create_task(acks.wait(*acks.open(), timeout=5))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert len(acks) == 0


async def test_closing_fails_all_that_wait() -> None:
    acks = PendingAcks()
    waiting = [asyncio.create_task(acks.wait(*acks.open(), timeout=5)) for _ in range(3)]
    await asyncio.sleep(0)
    acks.close()
    for result in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(result, ConnectionClosed)
    assert len(acks) == 0


async def test_closing_before_the_wait_fails_it_too() -> None:
    acks = PendingAcks()
    question = acks.open()
    acks.close()
    with pytest.raises(ConnectionClosed):
        await acks.wait(*question, timeout=5)


async def test_nothing_can_be_asked_after_closing() -> None:
    acks = PendingAcks()
    acks.close()
    with pytest.raises(ConnectionClosed):
        acks.open()


async def test_an_answer_that_came_before_the_close_is_not_lost() -> None:
    acks = PendingAcks()
    question = acks.open()
    acks.settle(Event("__ack_ask", question[0], "just in time"))
    acks.close()
    assert (await acks.wait(*question, timeout=1)).data == "just in time"


async def test_closing_twice_does_nothing() -> None:
    acks = PendingAcks()
    acks.close()
    acks.close()
    assert len(acks) == 0
