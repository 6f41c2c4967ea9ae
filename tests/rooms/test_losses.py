"""Reports of events that may be lost."""

import asyncio
import logging
from typing import Any

import pytest

from django_etp import LayerUnavailable, on_error
from django_etp.hub.batches import Send
from django_etp.hub.process import serving_hub
from django_etp.rooms.losses import report_lost
from tests.support.batches import sends
from tests.support.inprocess import Wire, errors, until

pytestmark = pytest.mark.usefixtures("etp_registry")


async def test_losses_are_gathered_into_one_report_for_each_namespace(caplog: pytest.LogCaptureFixture):
    told = errors()
    told_of_game: list[BaseException] = []

    @on_error(namespace="game")
    def keep(connection: Any, error: BaseException) -> None:
        told_of_game.append(error)

    async with Wire():
        hub = serving_hub()
        cause = LayerUnavailable("It is down.")
        await asyncio.to_thread(report_lost, hub, sends(("a", "1"), ("b", "2")), cause)
        report_lost(hub, [*sends(("a", "3")), Send("game", ("a",), "4")], cause)
        await until(lambda: told and told_of_game)
    assert [str(error) for error in told] == [
        "Of committed transactions, 3 events may not have reached other processes: LayerUnavailable: It is down."
    ]
    assert isinstance(told[0], LayerUnavailable)
    assert told[0].__cause__ is cause
    assert "1 event may" in str(told_of_game[0])
    assert sum("3 events" in message for message in caplog.messages) == 1


def test_without_a_hub_or_with_a_loop_that_has_ended_losses_are_logged(caplog: pytest.LogCaptureFixture):
    async def serve() -> Any:
        async with Wire():
            return serving_hub()

    hub = asyncio.run(serve())
    for each in (None, hub):
        report_lost(each, sends(("a", "1")), RuntimeError("broken"))
    records = [record for record in caplog.records if record.name == "django_etp.rooms.losses"]
    assert [(record.levelno, record.exc_info is not None) for record in records] == [(logging.ERROR, True)] * 2
