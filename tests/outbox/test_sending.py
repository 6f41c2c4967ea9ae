"""What becomes of the events of a wave. Real layers and processes are in tests/strain/test_outbox.py."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from django.utils import timezone

from django_etp.cluster.links import LocalLink
from django_etp.cluster.messages import Frame
from django_etp.concurrency.confirmations import Confirmation
from django_etp.exceptions import IncompleteAnswer, LayerUnavailable
from django_etp.hub.hub import Hub
from django_etp.hub.names import group_name
from django_etp.hub.process import serving_hub
from django_etp.outbox import sending
from django_etp.outbox.models import OutboxEvent
from django_etp.outbox.sending import Outcome, send
from tests.support.outbox import row
from tests.support.rooms import clients, got

pytestmark = pytest.mark.usefixtures("etp_registry")


class Message:
    """The frames that go to a group in one message, which is taken or refused in the next turn of the loop."""

    def __init__(self, link: "Link") -> None:
        self.frames: list[Frame] = []
        self.confirmation = Confirmation()
        self._link = link
        asyncio.get_running_loop().call_soon(self._settle)

    def _settle(self) -> None:
        is_refused = any(map(self._link.refuses, self.frames))
        self.confirmation.settle(LayerUnavailable("refused") if is_refused else None)


class Link(LocalLink):
    """A layer that refuses messages, and processes that have not received what they are told."""

    def __init__(self) -> None:
        self.published: list[tuple[list[str], Frame]] = []
        self.refuses: Callable[[Frame], bool] = lambda frame: False
        self.replies: list[Any] = []
        self.asked: list[list[Any]] = []
        self.unheard: list[frozenset[str]] = []
        self._messages: dict[str, Message] = {}

    def unheard_of(self, hubs: frozenset[str]) -> frozenset[str]:
        return hubs & self.unheard.pop(0) if self.unheard else frozenset()

    def publish(self, groups: Sequence[str], frame: Frame, *, beside: Sequence[str] = ()) -> list[Confirmation]:
        self.published.append((list(groups), frame))
        if frame.begins_message or len(groups) > 1:
            self._messages.update((group, Message(self)) for group in groups)
        for group in groups:
            self._messages[group].frames.append(frame)
        return [self._messages[group].confirmation for group in groups]

    async def ask(self, hub: str | None, action: str, arguments: list[Any], timeout: float) -> dict[str, Any]:
        self.asked.append(arguments)
        reply = self.replies.pop(0) if self.replies else []
        if isinstance(reply, Exception):
            raise reply
        return {"other": reply}


@pytest.fixture
async def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    hub, link = serving_hub(), Link()
    monkeypatch.setattr(hub, "link", link)
    monkeypatch.setattr(hub.asker, "_link", link)
    monkeypatch.setattr(sending, "_ASK_AFTER", (0.0, 0.001, 0.001))
    return hub


_ids = iter(range(1, 1000))


def event(name: str, *rooms: str, **fields: Any) -> OutboxEvent:
    return row(name, *rooms, pk=next(_ids), created_at=timezone.now(), **fields)


def names(outcome: Outcome) -> tuple[list[str], list[str]]:
    return [event.event for event in outcome.sent], [event.event for event, _ in outcome.refused]


async def test_members_get_each_event_once_however_often_it_is_sent(hub: Hub) -> None:
    async with clients("a b", "b") as (first, second):
        events = [
            event("1", "a", data="x"),
            event("2", "a", "b"),
            event("3", "b", exclude=[second.id]),
        ]
        for _ in range(2):
            assert names(await send(hub, events, is_patient=True)) == (["1", "2", "3"], [])
        assert await got(first, second) == [["1", "2", "3"], ["2"]]


async def test_the_events_of_a_room_begin_a_message_together(hub: Any) -> None:
    await send(hub, [event("1", "a"), event("2", "b"), event("3", "a")], is_patient=True)
    assert [frame.begins_message for _, frame in hub.link.published] == [True, True, False]
    assert [frame.text for _, frame in hub.link.published] == ["1||0", "2||0", "3||0"]


async def test_an_event_that_the_layer_refuses_is_told_from_an_outage(hub: Any) -> None:
    async with clients("a") as (client,):
        hub.link.refuses = lambda frame: frame.text == "bad||0"
        outcome = await send(hub, [event("bad", "a"), event("good", "b")], is_patient=True)
        assert names(outcome) == (["good"], ["bad"])
        assert "refused" in outcome.refused[0][1]
        assert outcome.problem == ""
        hub.link.refuses = lambda frame: True
        outcome = await send(hub, [event("bad", "a"), event("good", "b")], is_patient=True)
        assert names(outcome) == ([], [])
        assert "refused" in outcome.problem
        assert await got(client) == [["bad", "bad"]]  # local members have both, and nothing of the empty frames


async def test_an_event_that_cannot_be_sent_at_all_is_refused(hub: Any) -> None:
    events = [event("__reserved", "a"), event("good", "a"), event("long", "y" * 2000)]
    outcome = await send(hub, events, is_patient=True)
    assert names(outcome) == (["good"], ["__reserved", "long"])
    assert "InvalidEventName" in outcome.refused[0][1]


async def test_an_event_is_sent_once_every_process_has_received_it(hub: Any) -> None:
    events = [event("1", "a"), event("2", "a"), event("3", "b")]
    last = [events[1].emission, events[2].emission]
    hub.link.replies = [last, last[:1], []]
    assert names(await send(hub, events, is_patient=True)) == (["1", "2", "3"], [])
    groups = [group_name("default", room) for room in ("a", "b")]
    assert hub.link.asked == [["", groups, last], ["", groups, last], ["", groups[:1], last[:1]]]


async def test_the_events_of_a_room_that_a_process_missed_are_not_sent_yet(hub: Any) -> None:
    events = [event("1", "a"), event("2", "a"), event("3", "b")]
    hub.link.replies = [[events[1].emission]] * 3
    outcome = await send(hub, events, is_patient=True)
    assert names(outcome) == (["3"], [])
    assert "1 of its rooms" in outcome.problem


async def test_processes_that_do_not_reply_are_waited_for_with_patience_only(hub: Any) -> None:
    events = [event("1", "a"), event("2", "b")]
    silent = IncompleteAnswer("1 of 2 processes", answer={"other": [events[0].emission]})
    hub.link.replies = [silent]
    outcome = await send(hub, events, is_patient=True)
    assert (names(outcome), outcome.problem) == (([], []), "1 of 2 processes")
    hub.link.replies = [silent] * 3
    assert names(await send(hub, events, is_patient=False)) == (["2"], [])


async def test_nothing_is_sent_if_nobody_can_be_asked(hub: Any) -> None:
    hub.link.replies = [LayerUnavailable("down")]
    outcome = await send(hub, [event("1", "a")], is_patient=False)
    assert (names(outcome), outcome.problem) == (([], []), "down")


async def test_processes_that_an_earlier_relay_knew_are_waited_for_until_they_are_heard_of(hub: Any) -> None:
    events, known = [event("1", "a"), event("2", "b")], frozenset(["one", "two"])
    hub.link.unheard = [known] * 3
    outcome = await send(hub, events, expected=known, is_patient=True)
    assert (names(outcome), outcome.hubs) == (([], []), None)
    assert outcome.problem.startswith("2 processes that had connections before")
    hub.link.asked, hub.link.unheard = [], [frozenset(["two"])]
    outcome = await send(hub, events, expected=known, is_patient=True)
    assert (names(outcome), outcome.problem, outcome.hubs) == ((["1", "2"], []), "", frozenset())
    assert len(hub.link.asked) == 2  # a process that was heard of late is asked for all rooms
    assert hub.link.asked[0] == hub.link.asked[1]


async def test_processes_that_an_earlier_relay_knew_are_waited_for_with_patience_only(hub: Any) -> None:
    hub.link.unheard = [frozenset(["one"])]
    assert names(await send(hub, [event("1", "a")], expected=frozenset(["one"]), is_patient=False)) == (["1"], [])
