"""A trace beside the frames of a message: on its way, and to versions that know of none."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextvars import Context
from typing import Any

import pytest

from django_etp.cluster import tracing
from django_etp.cluster.messages import Frame, RoomMessage, pack, unpack
from django_etp.cluster.publisher import Publisher
from django_etp.cluster.tracing import deliver_traced, set_tracer
from tests.support.inprocess import until


class Recorder:
    """A tracer of the sends whose text begins with "traced"."""

    def __init__(self) -> None:
        self.delivered: list[tuple[str, str]] = []

    def send(self, frame: Frame) -> str:
        return f"trace of {frame.text}" if frame.text.startswith("traced") else ""

    def deliver(self, trace: str, frame: Frame, deliver: Callable[[], Sequence[Any]]) -> None:
        self.delivered.append((trace, frame.text))
        deliver()

    def carry(self, context: Context) -> None: ...


class Receiver:
    """A host that keeps the frames it gets."""

    def __init__(self) -> None:
        self.frames: list[str] = []

    def deliver_frame(self, group: str, frame: Frame) -> Sequence[Any]:
        self.frames.append(frame.text)
        return ()


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    recorder = Recorder()
    set_tracer(recorder)
    yield recorder
    set_tracer(None)


async def sent(*texts: str) -> list[dict[str, Any]]:
    """Publish frames while the layer has the first one; return its messages."""
    messages: list[dict[str, Any]] = []
    goes_on = asyncio.Event()

    async def send(group: str, message: dict[str, Any]) -> None:
        messages.append(message)
        await goes_on.wait()

    async def send_to_all(message: dict[str, Any]) -> None: ...

    publisher = Publisher("hub", send, send_to_all)
    publisher.publish(["group"], Frame("first||0"))
    await until(lambda: messages)
    for text in texts:
        publisher.publish(["group"], Frame(text))
    goes_on.set()
    await until(lambda: len(messages) == 2)
    await publisher.stop()
    return messages


async def test_the_traces_of_frames_are_found_by_their_numbers(recorder: Recorder) -> None:
    first, second = await sent("traced a||0", "other||0", "traced b||0")
    assert "traces" not in first
    assert second["traces"] == {"0": "trace of traced a||0", "2": "trace of traced b||0"}
    message = unpack(second)
    assert isinstance(message, RoomMessage)
    receiver: Any = Receiver()
    deliver_traced(receiver, message, [Frame.from_plain(frame) for frame in message.frames])
    assert receiver.frames == ["traced a||0", "other||0", "traced b||0"]
    assert recorder.delivered == [("trace of traced a||0", "traced a||0"), ("trace of traced b||0", "traced b||0")]


async def test_without_a_tracer_the_messages_are_as_they_were() -> None:
    assert tracing.tracer is None
    for message in await sent("traced||0"):
        assert sorted(message) == sorted(
            ["type", "v", "group", "stream", "born", "number", "frames_before", "frames", "age"]
        )


@pytest.mark.parametrize("traces", [{"0": 5}, {"0": None}, {"7": "x"}, {"x": "y"}])
def test_traces_that_make_no_sense_lose_no_frame(recorder: Recorder, traces: dict[str, Any]) -> None:
    values = pack(RoomMessage("group", "stream", 0.0, 1, 0, ["news||0"], 0.0)) | {"traces": traces}
    message = unpack(values)
    assert isinstance(message, RoomMessage)
    receiver: Any = Receiver()
    deliver_traced(receiver, message, [Frame("news||0")])
    assert receiver.frames == ["news||0"]
    assert recorder.delivered == []


def test_a_process_without_a_tracer_delivers_frames_with_traces() -> None:
    message = RoomMessage("group", "stream", 0.0, 1, 0, ["news||0"], 0.0, {"0": "a trace"})
    receiver: Any = Receiver()
    deliver_traced(receiver, message, [Frame("news||0")])
    assert receiver.frames == ["news||0"]
