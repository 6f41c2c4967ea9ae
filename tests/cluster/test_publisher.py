"""Sends to groups, over plain async functions in the layer's place."""

import asyncio
from typing import Any

import pytest

from django_etp.cluster import announcer, publisher
from django_etp.cluster.messages import Frame
from django_etp.cluster.publisher import Publisher
from django_etp.concurrency.confirmations import confirmed
from django_etp.exceptions import LayerUnavailable
from tests.support.hurry import hurried, kept, seconds


class Layer:
    """The messages to each group and the numbers to all nodes; it fails, or waits, on request."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.announced: list[tuple[float, list[Any]]] = []
        self.ages: list[float] = []
        self.tries = 0
        self.at_once = self.most_at_once = 0
        self.is_down = False
        self.takes_numbers = True
        self.is_open = asyncio.Event()
        self.is_open.set()
        self.takes = 0.0
        self.slow: dict[str, float] = {}
        self.publisher = Publisher("publisher", self._send, self._send_to_all)

    def texts(self, group: str) -> list[str]:
        return [text for message in self.sent if message["group"] == group for text in message["frames"]]

    async def emit(self, group: str, text: str) -> None:
        await confirmed(self.publisher.publish([group], Frame(text)))

    async def _send(self, group: str, message: dict[str, Any]) -> None:
        assert message["group"] == group
        self.tries += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await self.is_open.wait()
            if takes := self.slow.get(group, self.takes):
                await asyncio.sleep(takes)
            if self.is_down:
                raise ConnectionError("down")
            self.sent.append(message)
        finally:
            self.at_once -= 1

    async def _send_to_all(self, message: dict[str, Any]) -> None:
        if self.is_down or not self.takes_numbers:
            raise ConnectionError("down")
        now = asyncio.get_running_loop().time()
        self.announced += [(now, stream) for stream in message["streams"]]
        self.ages += message["ages"]


@hurried
async def test_idle_group_is_sent_to_at_once():
    layer = Layer()
    assert await seconds(layer.emit("room", "hello||0")) < 0.01
    assert [(message["number"], message["frames_before"], message["frames"]) for message in layer.sent] == [
        (1, 0, ["hello||0"])
    ]


@hurried
async def test_what_comes_meanwhile_goes_as_one_message_in_order():
    layer = Layer()
    layer.is_open.clear()
    emits = [asyncio.ensure_future(layer.emit("room", "0"))]
    await asyncio.sleep(0.1)
    emits += [asyncio.ensure_future(layer.emit("room", str(number))) for number in range(1, 100)]
    await asyncio.sleep(0.1)
    layer.is_open.set()
    await asyncio.gather(*emits)
    assert layer.texts("room") == [str(number) for number in range(100)]
    assert [(message["number"], message["frames_before"], len(message["frames"])) for message in layer.sent] == [
        (1, 0, 1),
        (2, 1, 99),
    ]


@hurried
async def test_message_holds_at_most_500_frames():
    layer = Layer()
    layer.is_open.clear()
    emits = [asyncio.ensure_future(layer.emit("room", str(number))) for number in range(1201)]
    await asyncio.sleep(0.1)
    layer.is_open.set()
    await asyncio.gather(*emits)
    assert [len(message["frames"]) for message in layer.sent] == [500, 500, 201]


@hurried
async def test_message_holds_at_most_256_kib_but_for_one_larger_frame():
    layer = Layer()
    layer.is_open.clear()
    sizes = [200, 56, 1, 300, 1]
    emits = [asyncio.ensure_future(layer.emit("room", "x" * size * 1024)) for size in sizes]
    await asyncio.sleep(0.1)
    layer.is_open.set()
    await asyncio.gather(*emits)
    assert [[len(text) // 1024 for text in message["frames"]] for message in layer.sent] == [
        [200, 56],
        [1],
        [300],
        [1],
    ]


@hurried
async def test_frame_that_begins_a_message_takes_none_that_waits_along():
    layer = Layer()
    layer.is_open.clear()
    emits = [asyncio.ensure_future(layer.emit("room", "0"))]
    await asyncio.sleep(0.1)
    frames = [Frame("1"), Frame("2", begins_message=True), Frame("3")]
    emits += [asyncio.ensure_future(confirmed(layer.publisher.publish(["room"], frame))) for frame in frames]
    await asyncio.sleep(0.1)
    layer.is_open.set()
    await asyncio.gather(*emits)
    assert [message["frames"] for message in layer.sent] == [["0"], ["1"], ["2", "3"]]


@hurried
async def test_what_a_frame_names_counts_for_the_256_kib_of_its_message():
    layer = Layer()
    layer.is_open.clear()
    frame = Frame(
        "hello||0",
        exclude=frozenset(str(number) * 512 for number in range(10, 60)),
        rooms=("y" * 1024,) * 50,
        emission="e",
    )
    emits = [asyncio.ensure_future(confirmed(layer.publisher.publish(["room"], frame))) for _ in range(6)]
    await asyncio.sleep(0.1)
    layer.is_open.set()
    await asyncio.gather(*emits)
    assert [len(message["frames"]) for message in layer.sent] == [2, 2, 2]


@hurried
async def test_sends_to_a_thousand_groups_go_few_at_a_time():
    layer = Layer()
    layer.is_open.clear()
    emits = [asyncio.ensure_future(layer.emit(str(number), "hello||0")) for number in range(1000)]
    await asyncio.sleep(0.1)
    assert layer.at_once == 32
    layer.is_open.set()
    await asyncio.gather(*emits)
    assert layer.most_at_once == 32
    assert {message["group"] for message in layer.sent} == {str(number) for number in range(1000)}


@hurried
async def test_frame_for_several_groups_goes_to_each():
    layer = Layer()
    await confirmed(layer.publisher.publish(["a", "b"], Frame("hello||0", rooms=("a", "b"), emission="e")))
    assert layer.texts("a") == layer.texts("b") == [["hello||0", [], ["a", "b"], "e", "", ""]]
    assert [message["number"] for message in layer.sent] == [1, 1]


@hurried
async def test_failed_send_is_tried_once_more_under_its_number():
    layer = Layer()
    layer.is_down = True
    asyncio.get_running_loop().call_later(0.1, setattr, layer, "is_down", False)
    await layer.emit("room", "hello||0")
    assert layer.tries == 2
    assert [message["number"] for message in layer.sent] == [1]


@hurried
async def test_sender_learns_soon_that_the_layer_is_down():
    layer = Layer()
    layer.is_down = True
    with pytest.raises(LayerUnavailable, match=r"did not confirm a send, twice: ConnectionError: down\. Members"):
        await layer.emit("room", "hello||0")
    assert await seconds(layer.emit("room", "hello||0")) == pytest.approx(0.2, abs=0.01)


@hurried
async def test_every_sender_learns_within_7_s_that_the_layer_hangs():
    layer = Layer()
    layer.is_open.clear()
    emits = [asyncio.ensure_future(layer.emit(str(number), "hello||0")) for number in range(200)]
    assert await seconds(asyncio.wait(emits)) < 7
    assert {type(emit.exception()) for emit in emits} == {LayerUnavailable}


@hurried
async def test_senders_behind_others_learn_within_7_s_that_the_layer_hangs():
    layer = Layer()
    layer.is_open.clear()
    emits = []
    for number in range(100):
        emits.append(asyncio.ensure_future(seconds(layer.emit("room", str(number)))))
        await asyncio.sleep(0.5)
    assert max(await asyncio.gather(*emits)) < 7.5


@hurried
async def test_what_was_given_up_unsent_takes_no_number():
    layer = Layer()
    layer.is_open.clear()
    emits = [asyncio.ensure_future(layer.emit("room", "sent"))]
    await asyncio.sleep(0)
    emits += [asyncio.ensure_future(layer.emit("room", "x" * 200_000)) for _ in range(3)]  # a message each
    await asyncio.wait(emits)
    assert {type(emit.exception()) for emit in emits} == {LayerUnavailable}
    layer.is_open.set()
    await layer.emit("room", "later")
    # The second was sent, for a moment; the two behind it never were.
    assert [(message["number"], message["frames_before"]) for message in layer.sent] == [(3, 2)]


@hurried
async def test_numbers_go_on_after_a_failure():
    layer = Layer()
    await layer.emit("room", "1")
    layer.is_down = True
    with pytest.raises(LayerUnavailable):
        await layer.emit("room", "2")
    layer.is_down = False
    await layer.emit("room", "3")
    assert [(message["number"], message["frames_before"]) for message in layer.sent] == [(1, 0), (3, 2)]


@hurried
async def test_more_than_10_000_frames_do_not_wait():
    layer = Layer()
    layer.is_open.clear()
    emits = [asyncio.ensure_future(layer.emit("room", "hello||0")) for _ in range(10_000)]
    await asyncio.sleep(0.1)
    with pytest.raises(LayerUnavailable, match=r"full \(10,000 events\)"):
        await layer.emit("room", "hello||0")
    layer.is_open.set()
    await asyncio.gather(*emits)
    await layer.emit("room", "hello||0")


@hurried
async def test_more_than_16_mib_do_not_wait_but_for_one_larger_frame():
    layer = Layer()
    layer.is_open.clear()
    large = asyncio.ensure_future(layer.emit("room", "x" * 17 * 1024 * 1024))
    await asyncio.sleep(0.1)
    with pytest.raises(LayerUnavailable):
        await layer.emit("room", "hello||0")
    layer.is_open.set()
    await large


@pytest.mark.parametrize(
    "frame",
    [
        Frame("hello||0", exclude=frozenset(str(number) * 10 for number in range(10**4, 10**4 + 20_000))),
        Frame("hello||0", rooms=("x" * 1000,) * 2000, emission="e"),
        Frame("hello||0", connection_id="0" * 16 + "." + "x" * 3 * 1024 * 1024, namespace="default"),
    ],
    ids=["excluded connections", "rooms", "one connection"],
)
def test_names_in_frames_count_for_the_16_mib(frame: Frame):
    @hurried
    async def send() -> None:
        layer = Layer()
        layer.is_open.clear()
        sends = [confirmation for _ in range(4) for confirmation in layer.publisher.publish(["room"], frame)]
        with pytest.raises(LayerUnavailable, match="full"):
            layer.publisher.publish(["room"] * 8, frame)
        layer.is_open.set()
        await confirmed(sends)
        await confirmed(layer.publisher.publish(["room"], frame))
        assert layer.publisher._waiting_bytes == 0

    send()


@hurried
async def test_cancelled_sender_takes_nothing_back():
    layer = Layer()
    layer.is_open.clear()
    emit = asyncio.ensure_future(layer.emit("room", "hello||0"))
    await asyncio.sleep(0.1)
    emit.cancel()
    layer.is_open.set()
    await asyncio.sleep(0.1)
    assert layer.texts("room") == ["hello||0"]


@hurried
async def test_cancelled_sender_leaves_those_alone_whose_frames_go_with_its_own():
    layer = Layer()
    layer.is_open.clear()
    first, cancelled, other = (asyncio.ensure_future(layer.emit("room", frame)) for frame in "123")
    await asyncio.sleep(0.1)
    cancelled.cancel()
    await asyncio.sleep(0.1)
    layer.is_open.set()
    await asyncio.gather(first, other)
    assert layer.texts("room") == ["1", "2", "3"]


@hurried
async def test_last_number_is_announced_again_and_again_for_half_a_minute():
    layer = Layer()
    await layer.emit("room", "1")
    await layer.emit("room", "2")
    sent_at = asyncio.get_running_loop().time()
    await asyncio.sleep(60)
    assert [round(at - sent_at, 1) for at, _ in layer.announced] == pytest.approx([0.2, 1, 5, 10, 20, 30], abs=0.2)
    stream, born = layer.sent[0]["stream"], layer.sent[0]["born"]
    assert [number for _, number in layer.announced] == [["room", stream, born, 2, 2]] * 6
    assert layer.ages == pytest.approx([at for at, _ in layer.announced], abs=0.01)


@hurried
async def test_each_message_says_for_how_long_its_stream_has_existed():
    layer = Layer()
    for after in (0, 3, 60):
        await asyncio.sleep(after)
        await layer.emit("room", "x")
    assert [message["age"] for message in layer.sent] == pytest.approx([0, 3, 63], abs=0.01)


def order(layer: Layer) -> list[str]:
    """Return the texts in the order in which the layer took them, those of several groups where the last took them."""
    texts = [frame if isinstance(frame, str) else frame[0] for message in layer.sent for frame in message["frames"]]
    return list(dict.fromkeys(texts))


def emit_to_several(
    layer: Layer, groups: list[str], text: str, *, beside: list[str] | None = None
) -> asyncio.Future[None]:
    frame = Frame(text, rooms=tuple(groups), emission=text)
    return asyncio.ensure_future(confirmed(layer.publisher.publish(groups, frame, beside=beside or [])))


@hurried
async def test_an_event_to_several_groups_overtakes_nothing_in_any_of_them():
    layer = Layer()
    layer.slow = {"a": 1.0}
    emits = [asyncio.ensure_future(layer.emit("a", f"a{number}")) for number in range(2)]
    await asyncio.sleep(0.1)
    emits.append(asyncio.ensure_future(layer.emit("a", "a2")))
    await asyncio.sleep(0)
    both = emit_to_several(layer, ["a", "b"], "both")
    await asyncio.sleep(0)
    emits += [asyncio.ensure_future(layer.emit("b", "after")), asyncio.ensure_future(layer.emit("c", "elsewhere"))]
    await asyncio.gather(*emits, both)
    assert order(layer) == ["elsewhere", "a0", "a1", "a2", "both", "after"]
    assert kept(layer.publisher).keys() <= {"_name", "_lanes", "_announcer", "_streams"}


@hurried
async def test_events_to_several_groups_cross_without_a_deadlock():
    layer = Layer()
    layer.slow = {"a": 0.1, "b": 0.2, "c": 0.05}
    names = [["a", "b"], ["b", "c"], ["c", "a"], ["a", "b", "c"]] * 25
    emits = [emit_to_several(layer, groups, str(number)) for number, groups in enumerate(names)]
    async with asyncio.timeout(60):
        outcomes = await asyncio.gather(*emits, return_exceptions=True)
    sent = [number for number, outcome in enumerate(outcomes) if outcome is None]
    assert len(sent) > 20
    for group in "abc":
        assert layer.texts(group) == sorted(layer.texts(group), key=lambda frame: int(frame[0]))


@hurried
async def test_what_waits_for_another_group_waits_7_s_at_most():
    layer = Layer()
    layer.slow = {"a": 60}
    asyncio.ensure_future(layer.emit("a", "stuck")).add_done_callback(lambda done: done.exception())
    await asyncio.sleep(0.1)
    both, after = emit_to_several(layer, ["a", "b"], "both"), asyncio.ensure_future(layer.emit("b", "after"))
    with pytest.raises(LayerUnavailable):
        await both
    await asyncio.wait([after])
    assert asyncio.get_running_loop().time() < 7.5


@hurried
async def test_an_event_that_goes_another_way_keeps_its_place_among_those_of_its_groups():
    layer = Layer()
    layer.slow = {"a": 1.0, "everywhere": 0.5}
    emits = [asyncio.ensure_future(layer.emit("a", "before"))]
    await asyncio.sleep(0)
    groups = ["a", "b", "c"]
    emits.append(
        asyncio.ensure_future(confirmed(layer.publisher.publish(["everywhere"], Frame("many"), beside=groups)))
    )
    await asyncio.sleep(0)
    emits += [asyncio.ensure_future(layer.emit(group, f"after {group}")) for group in ("a", "b", "d")]
    await asyncio.gather(*emits)
    assert order(layer) == ["after d", "before", "many", "after b", "after a"]
    await layer.emit("c", "later")
    await asyncio.sleep(0)
    assert kept(layer.publisher).keys() <= {"_name", "_lanes", "_announcer", "_streams"}


@hurried
async def test_numbers_of_a_stream_that_never_goes_quiet_are_announced_soon_and_then_every_2_s():
    layer = Layer()
    for _ in range(100):
        await layer.emit("room", "hello||0")
        await asyncio.sleep(0.1)
    assert [at for at, _ in layer.announced] == pytest.approx([0.2, 2.2, 4.3, 6.4, 8.5], abs=0.3)
    numbers = [stream[3] for _, stream in layer.announced]
    assert numbers == pytest.approx([2, 22, 43, 64, 85], abs=5)


@hurried
async def test_numbers_of_a_stream_that_always_sends_are_announced_without_the_one_under_way():
    layer = Layer()
    layer.takes = 0.5
    emits = [asyncio.ensure_future(layer.emit("room", "x" * 200_000)) for _ in range(12)]
    await asyncio.wait(emits)
    numbers = [(at, stream[3]) for at, stream in layer.announced]
    assert [at for at, _ in numbers] == pytest.approx([0.7, 2.9, 5.4], abs=0.3)
    assert [number for _, number in numbers] == pytest.approx([at / 0.5 for at, _ in numbers], abs=1.1)
    assert len(layer.sent) == 12


@hurried
async def test_stop_announces_the_number_of_what_is_under_way():
    layer = Layer()
    layer.is_open.clear()
    emit = asyncio.ensure_future(layer.emit("room", "hello||0"))
    await asyncio.sleep(0.1)
    await layer.publisher.stop()
    assert [stream[3:] for _, stream in layer.announced] == [[1, 1]]
    layer.is_open.set()
    await emit


@hurried
async def test_an_event_that_was_never_sent_has_no_number_to_announce():
    layer = Layer()
    layer.is_open.clear()
    senders = [asyncio.ensure_future(layer.emit(f"room {number}", "x")) for number in range(33)]
    await asyncio.sleep(0)
    late = [asyncio.ensure_future(layer.emit("room 0", str(number))) for number in range(2)]
    await asyncio.gather(*senders, *late, return_exceptions=True)
    layer.is_open.set()
    await asyncio.sleep(60)
    assert all(stream[3] > 0 for _, stream in layer.announced)
    assert kept(layer.publisher).keys() <= {"_name", "_lanes", "_idle", "_streams"}


@hurried
async def test_last_number_that_could_not_be_announced_is_announced_once_the_layer_is_back():
    layer = Layer()
    await layer.emit("room", "1")
    layer.is_down = True
    await asyncio.sleep(120)
    layer.is_down = False
    await asyncio.sleep(60)
    assert len(layer.announced) == 6


@hurried
async def test_numbers_that_no_node_received_are_sent_again():
    layer = Layer()
    await layer.emit("room", "1")
    await asyncio.sleep(60)
    layer.announced.clear()
    layer.publisher.send_numbers_again()
    await asyncio.sleep(0.5)
    assert len(layer.announced) == 1


@hurried
async def test_stop_sends_what_waits_and_announces_the_last_numbers():
    layer = Layer()
    layer.is_open.clear()
    emits = [asyncio.ensure_future(layer.emit("room", str(number))) for number in range(3)]
    await asyncio.sleep(0.1)
    asyncio.get_running_loop().call_later(0.5, layer.is_open.set)
    await layer.publisher.stop()
    await asyncio.gather(*emits)
    assert layer.texts("room") == ["0", "1", "2"]
    assert [number[3:] for _, number in layer.announced] == [[1, 3]]


@hurried
async def test_stop_leaves_no_task_and_no_timer():
    layer = Layer()
    await layer.emit("room", "1")
    await layer.publisher.stop()
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert layer.publisher._forgetting is None


@hurried
async def test_publisher_goes_on_after_a_stop():
    layer = Layer()
    await layer.emit("room", "1")
    await layer.publisher.stop()
    await layer.emit("room", "2")
    layer.announced.clear()
    await asyncio.sleep(0.5)
    assert [number[3:] for _, number in layer.announced] == [[2, 2]]


@hurried
async def test_thousand_groups_are_forgotten_after_10_minutes_of_silence():
    layer = Layer()
    for number in range(1000):
        await layer.emit(str(number), "hello||0")
    await asyncio.sleep(540)
    assert kept(layer.publisher)["_lanes"] == 1000
    await layer.emit("0", "hello||0")
    await asyncio.sleep(121)
    assert kept(layer.publisher)["_lanes"] == 1
    await asyncio.sleep(600)
    assert kept(layer.publisher).keys() <= {"_name"}
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a hundredth of the lanes be kept."""
    monkeypatch.setattr(publisher, "_MOST_IDLE", 100)
    monkeypatch.setattr(announcer, "_MOST_REPEATED", 100)
    monkeypatch.setattr(announcer, "_MOST", 500)


@pytest.mark.usefixtures("small_limits")
@hurried
async def test_of_any_number_of_groups_some_are_kept_and_each_number_is_announced():
    layer = Layer()
    await asyncio.gather(*(layer.emit("busy", str(number)) for number in range(3)))
    most = 0
    for start in range(0, 2000, 20):
        await asyncio.gather(*(layer.emit(str(number), "hello||0") for number in range(start, start + 20)))
        await asyncio.sleep(0.1)
        most = max(most, kept(layer.publisher)["_lanes"])
        if start % 100 == 0:
            await layer.emit("busy", "hello||0")
    assert most < 300
    await asyncio.sleep(60)
    assert kept(layer.publisher) == {"_name": 10, "_lanes": 100, "_idle": 100}
    assert {stream[0] for _, stream in layer.announced} == {"busy", *map(str, range(2000))}
    await layer.emit("0", "later")
    first, later = (message for message in layer.sent if message["group"] == "0")
    assert first["stream"] != later["stream"]
    assert (later["number"], later["frames_before"]) == (1, 0)
    assert {message["stream"] for message in layer.sent if message["group"] == "busy"} == {"publisher.1"}


@pytest.mark.usefixtures("small_limits")
@hurried
async def test_a_lane_that_is_sending_is_not_forgotten():
    layer = Layer()
    layer.slow = {"slow": 0.5}
    emits = [asyncio.ensure_future(layer.emit("slow", "x" * 200_000)) for _ in range(12)]
    for start in range(0, 1000, 20):
        await asyncio.gather(*(layer.emit(str(number), "hello||0") for number in range(start, start + 20)))
        await asyncio.sleep(0.1)
    await asyncio.gather(*emits)
    assert [message["number"] for message in layer.sent if message["group"] == "slow"] == list(range(1, 13))
    assert {message["stream"] for message in layer.sent if message["group"] == "slow"} == {"publisher.1"}


@pytest.mark.usefixtures("small_limits")
@hurried
async def test_while_the_layer_takes_no_announcements_lanes_are_bounded_and_no_number_is_given():
    layer = Layer()
    layer.takes_numbers = False
    await asyncio.gather(*(layer.emit(str(number), "hello||0") for number in range(500)))
    with pytest.raises(LayerUnavailable, match=r"Too many rooms and connections were sent to of late \(500\)"):
        await layer.emit("one more", "hello||0")
    await asyncio.sleep(60)
    with pytest.raises(LayerUnavailable, match="Too many rooms"):
        await layer.emit("one more", "hello||0")
    assert kept(layer.publisher)["_lanes"] == 500
    layer.takes_numbers = True
    await asyncio.sleep(1)
    await layer.emit("one more", "hello||0")
    assert {stream[0] for _, stream in layer.announced} == set(map(str, range(500)))


@pytest.mark.usefixtures("small_limits")
@hurried
async def test_numbers_of_streams_that_were_kept_are_sent_again():
    layer = Layer()
    await asyncio.gather(*(layer.emit(str(number), "hello||0") for number in range(300)))
    await asyncio.sleep(60)
    layer.announced.clear()
    layer.publisher.send_numbers_again()
    await asyncio.gather(*(layer.emit(f"other {number}", "hello||0") for number in range(300)))
    await asyncio.sleep(60)
    assert len({stream[0] for _, stream in layer.announced}) == 400
    assert kept(layer.publisher)["_idle"] == 100


@hurried
async def test_events_that_go_another_way_open_only_their_own_fences():
    layer = Layer()
    layer.slow = {"everywhere": 0.1, "elsewhere": 0.3}
    rooms = [f"room {number}" for number in range(100)]
    first = layer.publisher.publish(["everywhere"], Frame("first", rooms=tuple(rooms)), beside=rooms)
    later = layer.publisher.publish(["elsewhere"], Frame("later", rooms=tuple(rooms[:50])), beside=rooms[:50])
    await confirmed(first)
    assert set(layer.publisher._fences) == set(rooms[:50])
    await confirmed(later)
    assert layer.publisher._fences == {}


@hurried
async def test_group_that_was_forgotten_begins_a_new_stream():
    layer = Layer()
    await layer.emit("room", "1")
    await asyncio.sleep(700)
    await layer.emit("room", "2")
    first, second = layer.sent
    assert first["stream"] != second["stream"]
    assert (second["number"], second["frames_before"]) == (1, 0)
    assert all(layer.publisher.owns(message["stream"]) for message in layer.sent)


@hurried
async def test_last_numbers_are_known_by_group_and_time_for_a_day():
    layer = Layer()
    await layer.emit("a", "1")
    await asyncio.sleep(1000)
    await layer.emit("b", "1")
    await layer.emit("b", "2")
    now = asyncio.get_running_loop().time()

    def told(*groups: str, since: float = 0.0) -> list[tuple[str, int, float]]:
        numbers = layer.publisher.last_numbers(groups, since, now)
        return [(stream[0], stream[3], round(age)) for stream, age in numbers]

    assert told() == [("a", 1, 1000), ("b", 2, 0)]
    assert told("a") == [("a", 1, 1000)]
    assert told("c") == []
    assert told(since=500) == [("b", 2, 0)]
    await asyncio.sleep(90_000)
    now = asyncio.get_running_loop().time()
    await layer.emit("c", "1")
    await asyncio.sleep(700)
    assert told() == [("c", 1, 0)]


@hurried
async def test_a_number_does_not_count_while_a_message_is_under_way():
    layer = Layer()
    await layer.emit("a", "1")
    layer.is_open.clear()
    second = asyncio.ensure_future(layer.emit("a", "2"))
    await asyncio.sleep(0.1)
    now = asyncio.get_running_loop().time()
    assert list(layer.publisher.last_numbers((), 0.0, now)) == []
    layer.is_open.set()
    await second
    assert [each.stream[3] for each in layer.publisher.last_numbers((), 0.0, now)] == [2]


def test_end_of_the_loop_leaves_nobody_waiting_and_nothing_behind():
    publishers = []

    @hurried
    async def end_while_sending() -> None:
        layer = Layer()
        layer.is_open.clear()
        publishers.append(layer.publisher)
        for number in range(3):
            asyncio.ensure_future(layer.emit("room", str(number)))  # noqa: RUF006
        await asyncio.sleep(0.1)

    end_while_sending()  # asyncio.Runner cancels what is left, and closes the loop
    assert kept(publishers[0]).keys() <= {"_name", "_lanes", "_announcer"}
    assert publishers[0]._waiting_frames == publishers[0]._waiting_bytes == 0
