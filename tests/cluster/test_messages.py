"""What travels over the channel layer: whole there and back, and nothing that harms the reader."""

import math
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_etp.cluster.messages import (
    Beat,
    Echo,
    Foreign,
    Frame,
    Malformed,
    Numbers,
    Query,
    Receipt,
    Reply,
    RoomMessage,
    Wanted,
    pack,
    unpack,
)

texts = st.text(max_size=10)
numbers = st.integers(min_value=0, max_value=2**63 - 1)
seconds = st.floats(min_value=0, allow_infinity=False)
plain = st.recursive(st.none() | st.booleans() | numbers | texts, lambda inner: st.lists(inner, max_size=3))
frames = st.builds(
    Frame, texts, st.frozensets(texts, max_size=3), st.lists(texts, max_size=3).map(tuple), texts, texts, texts
)


@st.composite
def room_messages(draw: st.DrawFn) -> RoomMessage:
    number = draw(st.integers(1, 2**62))
    before = draw(st.integers(number - 1, 2**63 - 1))
    plain_frames = [frame.to_plain() for frame in draw(st.lists(frames, min_size=1, max_size=3))]
    return RoomMessage(draw(texts), draw(texts), draw(seconds), number, before, plain_frames, draw(seconds))


messages = st.one_of(
    room_messages(),
    st.builds(Numbers, st.lists(plain, max_size=3), st.lists(plain, max_size=3), st.integers(0, 9), st.booleans()),
    st.builds(Wanted, texts, st.integers(1, 9), st.lists(plain, max_size=3), seconds),
    st.builds(Beat, texts, st.integers(0, 2**40), st.floats(0.1, 60), texts, texts, *[st.booleans()] * 3),
    st.builds(Echo, texts, numbers),
    st.builds(Query, texts, texts.map("etp.ask.{}".format), texts, st.lists(plain, max_size=3), st.booleans()),
    st.builds(Receipt, texts, texts, st.lists(plain, max_size=3)),
    st.builds(Reply, texts, texts, st.lists(plain, max_size=3), plain, texts),
    st.builds(Foreign, texts, texts, plain, texts),
)
# What a serializer may bring, and more.
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts | st.binary(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(texts | st.integers() | st.binary(max_size=5), inner, max_size=4)
        | st.tuples(inner, inner)
    ),
    max_leaves=10,
)
KEYS = [
    *("group", "stream", "born", "number", "frames_before", "frames", "streams", "hub", "interval", "channel"),
    *("control_channel", "is_new", "is_last", "id", "answer_to", "action", "arguments", "known", "result", "error"),
    *("room", "event", "data", "namespace", "v", "more", "age", "ages", "asked", "is_relayed", "groups", "within"),
]
TYPES = [
    *("etp.room", "etp.numbers", "etp.wanted", "etp.beat", "etp.echo"),
    *("etp.question", "etp.answer", "etp.emit", "etp.other"),
]

VALID: dict[str, dict[str, Any]] = {
    "etp.room": {
        **{"group": "g", "stream": "h.1", "born": 1.5, "number": 2, "frames_before": 1, "frames": ["x||0"]},
        "age": 3.5,
    },
    "etp.numbers": {"streams": [["g", "h.1", 1.5, 2, 3]], "ages": [7.5], "asked": 3, "is_relayed": True},
    "etp.wanted": {"answer_to": "etp.ask.h", "number": 3, "groups": ["g"], "within": 60.5},
    "etp.beat": {"hub": "h", "number": 1, "interval": 2.0, "channel": "c", "control_channel": "d", "is_new": True},
    "etp.echo": {"hub": "h", "number": 1},
    "etp.question": {"id": "q", "answer_to": "etp.ask.h", "action": "count", "arguments": ["default", "r"]},
    "etp.answer": {"id": "q", "hub": "h", "known": ["h"], "result": 1, "error": ""},
    "etp.emit": {"room": "r", "event": "news", "data": {"a": 1}, "namespace": "default"},
}
OPTIONAL = {"is_new", "is_last", "result", "error", "data", "namespace", "age", "ages", "asked", "is_relayed"}


@given(messages)
def test_a_message_comes_back_as_it_was(message):
    assert unpack(pack(message)) == message


@given(frames)
def test_a_frame_comes_back_as_it_was(frame):
    assert Frame.from_plain(frame.to_plain()) == (
        frame if frame.exclude or frame.rooms or frame.emission or frame.connection_id else Frame(frame.text)
    )


@given(frames)
def test_a_frame_comes_back_from_a_serializer_that_makes_tuples(frame):
    travelled = frame.to_plain()
    if isinstance(travelled, list):
        travelled = tuple(tuple(item) if isinstance(item, list) else item for item in travelled)
    assert Frame.from_plain(travelled).text == frame.text


def test_most_frames_travel_as_their_text_alone():
    assert Frame("news||0").to_plain() == "news||0"


def test_a_frame_for_one_connection_names_its_namespace():
    frame = Frame("news||0", connection_id="a.1", namespace="game")
    assert Frame.from_plain(frame.to_plain()).namespace == "game"


@pytest.mark.parametrize(
    "value",
    [
        ["news||0", [], [], "", "a.1"],
        ["news||0", [], [], "", "a.1", None],
        ["news||0", [], [], "", "a.1", ["game"]],
        ["news||0", [], [], "", "a.1", "game", ""],
    ],
    ids=["none", "null", "list", "one too many"],
)
def test_a_frame_without_its_namespace_is_malformed(value):
    with pytest.raises(Malformed):
        Frame.from_plain(value)


@pytest.mark.parametrize("value", ["news||0||\ud800", ["news||0||\ud800", [], ["a", "b"], "e", "", ""]])
def test_a_frame_that_no_server_could_write_is_malformed(value):
    """JSON brings lone surrogates; written to a socket, they end its connection."""
    with pytest.raises(Malformed, match="valid Unicode"):
        Frame.from_plain(value)


@given(anything)
def test_no_value_as_a_frame_raises_anything_but_malformed(value):
    with suppress(Malformed):
        assert isinstance(Frame.from_plain(value), Frame)


@given(st.dictionaries(st.sampled_from(["type", *KEYS]) | texts, anything, max_size=8))
def test_no_dict_raises_anything_but_malformed(values):
    with pytest.raises(Malformed):
        unpack(values)


@given(st.sampled_from(sorted(VALID)), st.dictionaries(st.sampled_from(KEYS), anything, min_size=1, max_size=4))
def test_no_dict_that_is_almost_right_raises_anything_but_malformed(kind, changes):
    try:
        message = unpack({"type": kind, "v": 1, **VALID[kind], **changes})
    except Malformed:
        return
    assert message.type == kind


@pytest.mark.parametrize("kind", VALID)
def test_unknown_keys_are_ignored(kind):
    values = {"type": kind, **VALID[kind]}
    assert unpack({**values, "later": [1, 2]}) == unpack(values)


@pytest.mark.parametrize("version", [2, 10**30, "1", None, 1.0, [1]])
def test_another_version_is_malformed(version):
    with pytest.raises(Malformed, match="format version"):
        unpack({"type": "etp.echo", **VALID["etp.echo"], "v": version})


@pytest.mark.parametrize(("kind", "key"), [(kind, key) for kind in VALID for key in VALID[kind] if key not in OPTIONAL])
def test_a_missing_key_is_malformed(kind, key):
    values = {name: value for name, value in VALID[kind].items() if name != key}
    with pytest.raises(Malformed, match=key):
        unpack({"type": kind, **values})


@pytest.mark.parametrize(
    ("kind", "key"),
    [(kind, key) for kind in VALID for key in VALID[kind] if key not in ("result", "data")],
)
@pytest.mark.parametrize("value", [None, {"a": 1}, b"bytes"])
def test_a_value_of_the_wrong_type_is_malformed(kind, key, value):
    with pytest.raises(Malformed, match=key):
        unpack({"type": kind, **VALID[kind], key: value})


@pytest.mark.parametrize("kind", [None, 7, "", "etp.Room", "websocket.send", ["etp.room"]])
def test_an_unknown_type_is_malformed(kind):
    with pytest.raises(Malformed, match="type"):
        unpack({"type": kind, **VALID["etp.room"]})


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        ("etp.room", "number", 0),
        ("etp.room", "number", -1),
        ("etp.room", "number", True),
        ("etp.room", "number", 3),  # its two messages before cannot have had one frame
        ("etp.room", "frames_before", -1),
        ("etp.room", "born", math.nan),
        ("etp.room", "frames", []),
        ("etp.room", "stream", "s" * 101),
        ("etp.beat", "interval", 0),
        ("etp.beat", "interval", -2.0),
        ("etp.beat", "interval", 1e9),
        ("etp.beat", "interval", math.nan),
        ("etp.beat", "interval", math.inf),
        ("etp.question", "answer_to", "etp.room.0"),
        ("etp.question", "answer_to", "etp.control"),
    ],
)
def test_a_value_that_no_hub_sends_is_malformed(kind, key, value):
    with pytest.raises(Malformed):
        unpack({"type": kind, **VALID[kind], key: value})


def test_the_reason_names_no_more_of_a_value_than_fits_a_line():
    with pytest.raises(Malformed) as malformed:
        unpack({"type": "etp.echo", "hub": "h", "number": "x" * 10_000})
    assert len(str(malformed.value)) < 200


@pytest.mark.parametrize(
    ("kind", "key"), [("etp.room", "born"), ("etp.room", "number"), ("etp.beat", "interval"), ("etp.echo", "number")]
)
@pytest.mark.parametrize("value", [2**63, -(2**63), 10**400, 10**5000], ids=["2**63", "-2**63", "10**400", "10**5000"])
def test_a_number_of_more_than_64_bits_is_malformed(kind, key, value):
    with pytest.raises(Malformed, match="64 bits"):
        unpack({"type": kind, **VALID[kind], key: value})


def test_the_data_of_an_event_may_be_any_number():
    assert unpack({"type": "etp.emit", **VALID["etp.emit"], "data": 10**400}).data == 10**400
