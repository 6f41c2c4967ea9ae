"""The codec: the reference's vectors, and what must hold for every input."""

import json
from pathlib import Path

import pytest
from django.utils.functional import lazystr
from hypothesis import given
from hypothesis import strategies as st

from django_etp.exceptions import EventFailed, InvalidEventName, InvalidFrame, InvalidPayload
from django_etp.protocol import Event, decode, encode, encode_answer, encode_failure, read_failure

VECTORS = json.loads((Path(__file__).parents[1] / "data" / "wire-vectors.json").read_text())
VALID = [vector for vector in VECTORS["decode"] if "error" not in vector]
INVALID = [vector for vector in VECTORS["decode"] if "error" in vector]

ACK_IDS = st.integers(-(2**63), 2**63 - 1)


def test_the_vectors_are_all_there() -> None:
    assert (len(VALID), len(INVALID), len(VECTORS["encode"])) == (26, 20, 8)


@pytest.mark.parametrize("vector", VALID, ids=lambda vector: ascii(vector["wire"]))
def test_decodes_as_the_reference_does(vector: dict[str, object]) -> None:
    event = decode(str(vector["wire"]))
    assert (event.name, event.ack_id, event.data) == (vector["name"], vector["ack_id"], vector["data"])
    assert (event.ack_required, event.is_ack) == (vector["ack_required"], vector["is_ack"])


@pytest.mark.parametrize("vector", INVALID, ids=lambda vector: ascii(vector["wire"]))
def test_refuses_what_the_reference_refuses(vector: dict[str, str]) -> None:
    part = {"format": "frame must be", "ack_id": "ack id"}[vector["error"]]
    with pytest.raises(InvalidFrame, match=part):
        decode(vector["wire"])


@pytest.mark.parametrize("message", ["secret", "secret||1x", "hello||secret||", b"secret", b"secret\xff"])
def test_an_error_tells_of_the_frame_only_its_shape_and_holds_it(message: str | bytes) -> None:
    with pytest.raises(InvalidFrame) as raised:
        decode(message)
    assert "secret" not in str(raised.value)
    assert raised.value.frame in (message, message.decode(errors="replace") if isinstance(message, bytes) else None)


def test_an_error_about_json_holds_nothing_of_the_data() -> None:
    with pytest.raises(InvalidPayload) as raised:
        Event("hello", 0, "secret").json()
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("vector", VECTORS["encode"], ids=lambda vector: ascii(vector["wire"]))
def test_encodes_as_the_reference_does(vector: dict[str, object]) -> None:
    event = Event(str(vector["name"]), int(str(vector["ack_id"])), str(vector["data"]))
    assert encode(event) == vector["wire"]


@given(st.builds(Event, st.text(), ACK_IDS, st.text()))
def test_decode_gives_back_what_encode_accepts(event: Event) -> None:
    try:
        frame = encode(event)
    except InvalidEventName:
        assert "||" in event.name or event.name.endswith("|") or event.is_ack
    else:
        assert decode(frame) == event
        assert decode(frame.encode()) == event


@given(st.builds(Event, st.text("a|_"), st.integers(-3, 3), st.text("a|")))
def test_decode_gives_back_names_and_data_full_of_delimiters(event: Event) -> None:
    try:
        frame = encode(event)
    except InvalidEventName:
        assert "||" in event.name or event.name.endswith("|")
    else:
        assert decode(frame) == event


@given(
    st.one_of(
        st.text(),
        st.binary(),
        st.text("|-+0123456789a_"),
        st.none(),
        st.integers(),
        st.lists(st.text()),
        st.builds(bytearray, st.binary()),
        st.text(st.characters(categories=["Cs"])),
        st.from_regex(r"\A[a|]*\|\|[+-]?[0-9_ ٣]{0,30}(\|\|.*)?\Z"),
    )
)
def test_decode_raises_nothing_but_invalid_frame(message: object) -> None:
    try:
        event = decode(message)  # type: ignore[arg-type]
    except InvalidFrame:
        return
    assert isinstance(event, Event)


@given(st.text("0123456789", min_size=1, max_size=6000), st.sampled_from(["", "+", "-"]))
def test_numbers_of_any_length_are_numbers_of_64_bits_or_refused(digits: str, sign: str) -> None:
    significant = digits.lstrip("0") or "0"
    number = int(sign + significant) if len(significant) < 25 else None
    fits = number is not None and -(2**63) <= number < 2**63
    try:
        assert decode(f"name||{sign}{digits}").ack_id == number
    except InvalidFrame:
        assert not fits
    else:
        assert fits


@given(st.text(), ACK_IDS, st.text())
def test_an_answer_carries_the_number_and_the_name_of_its_event(name: str, ack_id: int, data: str) -> None:
    if "||" in name or name.endswith("|"):
        return
    answer = decode(encode_answer(Event(name, ack_id), data))
    assert answer == Event(f"__ack_{name}", ack_id, data)


def test_a_failure_carries_its_code_and_its_message_as_text() -> None:
    frame = encode_failure(Event("ask", 7), EventFailed(lazystr("busy"), lazystr("später")))
    assert frame == '__err_ask||7||{"code":"busy","message":"sp\\u00e4ter"}'


@pytest.mark.parametrize(
    ("data", "code", "message"),
    [
        ('{"code": "busy", "message": "later"}', "busy", "later"),
        ('{"code": 7, "message": null}', "7", "None"),
        ("{}", "handler_error", ""),
        ("[]", "handler_error", ""),
        ("no JSON", "handler_error", ""),
        ('{"code": "\\ud800", "message": "x\\udfff"}', "?", "x?"),
    ],
)
def test_a_failure_that_is_read_is_the_peers(data: str, code: str, message: str) -> None:
    failure = read_failure(Event("__err_ask", 7, data))
    assert (failure.code, failure.message, failure.is_from_peer) == (code, message, True)


@pytest.mark.parametrize("name", ["a||b", "a|", "||", "|", "__ack_", "__ack_hello", "\ud800"])
def test_encode_refuses_names_that_would_come_back_as_something_else(name: str) -> None:
    with pytest.raises(InvalidEventName):
        encode(Event(name))


@pytest.mark.parametrize("ack_id", [2**63, -(2**63) - 1, "1", None, 1.0])
def test_encode_refuses_numbers_that_are_not_of_64_bits(ack_id: int) -> None:
    with pytest.raises(InvalidFrame, match="64-bit"):
        encode(Event("name", ack_id))


@pytest.mark.parametrize("data", ["\udfff", b"bytes", None, 1])
def test_encode_refuses_data_that_is_not_unicode_text(data: str) -> None:
    with pytest.raises(InvalidPayload) as raised:
        encode(Event("name", 0, data))
    assert raised.value.is_outgoing


def test_a_true_ack_id_goes_out_as_a_number() -> None:
    assert encode(Event("name", True)) == "name||1"


def test_json_gives_the_data_parsed() -> None:
    assert Event("name", 0, '{"a": [1, null]}').json() == {"a": [1, None]}


@pytest.mark.parametrize(
    "data", ["", "{", "NaN", "[Infinity]", "[" * 100_000, "9" * 5000, "'a'", "1e999", "[-1e400]", "1" * 400 + ".5"]
)
def test_json_refuses_what_is_not_json(data: str) -> None:
    with pytest.raises(InvalidPayload, match="is not JSON") as raised:
        Event("name", 0, data).json()
    assert not raised.value.is_outgoing
    assert not raised.value.is_answer


# Texts full of numbers take a faster way, unless a number may be too large.
NUMBERS = ["[" + "0.25,7.5, " * 300, '[{"value": 1.5, "second": 2.5e-10},' + '{"value": 1.5, "second": 2.5e-10},' * 300]


@pytest.mark.parametrize("numbers", NUMBERS, ids=["plain", "with words and exponents"])
@pytest.mark.parametrize(
    "number",
    ["1e999", "-1E400", "1e+999", "1e00000400", "1.5e309", "0.1E+400", "9" * 310 + ".0", "-" + "1" * 301 + "e9"],
)
def test_json_refuses_a_number_out_of_range_among_many(numbers: str, number: str) -> None:
    for shift in (0, 1, 74, 149):
        with pytest.raises(InvalidPayload, match="is not JSON"):
            Event("name", 0, f"{numbers}{' ' * shift}{number}]").json()


@pytest.mark.parametrize("numbers", NUMBERS, ids=["plain", "with words and exponents"])
@pytest.mark.parametrize(
    "number", ["1e308", "-1E+30", "1e-999", "9" * 308 + ".0", "9" * 400, '"1e999"', "0." + "9" * 400]
)
def test_json_reads_the_numbers_in_range_among_many(numbers: str, number: str) -> None:
    text = f"{numbers}{number}]"
    assert Event("name", 0, text).json() == json.loads(text)


def test_json_of_an_answer_says_whose_data_it_is() -> None:
    with pytest.raises(InvalidPayload, match="__ack_name") as raised:
        Event("__ack_name", 7, "no JSON").json()
    assert raised.value.is_answer


def test_events_are_compared_and_hashed_by_value() -> None:
    assert decode("hello||1||data") == Event("hello", 1, "data")
    assert len({decode("hello||1||data"), Event("hello", 1, "data"), Event("hello", 2, "data")}) == 2
