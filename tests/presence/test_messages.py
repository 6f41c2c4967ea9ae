"""Messages between processes: back from text, and malformed ones."""

import pytest

from django_etp.cluster.messages import Malformed
from django_etp.presence.entries import Entry
from django_etp.presence.messages import MOST_AT_ONCE, Delta, Digest, Farewell, Message, farewells, read, room_id

ANA = Entry("ana", '{"a":"ü"}', 1.5, 1.0, 1, 0)


@pytest.mark.parametrize(
    "message",
    [
        Delta("h", 0, 1, (ANA,), ("bob",)),
        Digest("h", 7, "a", "b", {"aa": 3}),
        Digest("h", 7),
        Farewell("h", {"aa": (ANA,), "ab": ()}),
    ],
)
def test_a_message_comes_back_from_its_text(message: Message) -> None:
    assert read(message.encode()) == message


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[" * 10**5, "null", "[]", '["other", "h"]'),
        *('["delta", "h", 1, 1, [], []]', '["delta", "h", -1, 1, [], []]', '["delta", "h", 0, 1, [], [5]]'),
        *('["delta", "h", 0, 1, [[]], []]', '["delta", 5, 0, 1, [], []]', '["digest", "h", 1, "", "", {"a": "b"}]'),
        *('["digest", "h", 1, "", "", []]', '["farewell", "h", []]', '["farewell", "h", {"a": 5}]'),
        *('["farewell", "h", {"a": [5]}]', '["delta", "h", 0, 1, [], []'),
    ],
    ids=range(17),
)
def test_other_texts_are_malformed(text: str) -> None:
    with pytest.raises(Malformed):
        read(text)


def test_a_digest_covers_its_range() -> None:
    assert all(Digest("h", 1).covers(id) for id in ("0", "f"))
    assert [id for id in "abcd" if Digest("h", 1, "b", "d").covers(id)] == ["b", "c"]
    assert [id for id in "abcd" if Digest("h", 1, "c").covers(id)] == ["c", "d"]


def test_farewells_are_bounded() -> None:
    entries = [Entry(str(number), "{}", 1, 1, 0, 1) for number in range(MOST_AT_ONCE + 5)]
    parts = list(farewells("h", [("aa", entries[:10]), ("ab", entries)]))
    assert [sum(map(len, part.rooms.values())) for part in parts] == [MOST_AT_ONCE, 15]
    assert [list(part.rooms) for part in parts] == [["aa", "ab"], ["ab"]]
    assert [*parts[0].rooms["ab"], *parts[1].rooms["ab"]] == entries
    assert list(farewells("h", [("aa", [])])) == []


def test_rooms_of_namespaces_have_ids_of_their_own() -> None:
    assert len({room_id("a", "b:c"), room_id("a:b", "c"), room_id("", "b"), room_id("b", "")}) == 4
