"""Quote text that a peer has sent, for logs and terminals."""

import pytest

from django_etp.quoting import escape, one_line


@pytest.mark.parametrize("text", ["", "news {'a': 1}", "später, l'été 你好", "👩\u200d🚀", "\\ \" '"])
def test_readable_text_stays_as_it_is(text: str) -> None:
    assert escape(text) == text
    assert one_line(text) == text


@pytest.mark.parametrize(
    "character", [*map(chr, range(32)), *map(chr, range(127, 160)), *"\u2028\u2029\u202e\u2066\ud800"]
)
def test_what_moves_the_cursor_or_the_line_is_escaped(character: str) -> None:
    assert escape(f"a{character}b") == f"a{ascii(character)[1:-1]}b"


@pytest.mark.parametrize("text", ["x" * 201, "\n" * 150, "\U000e0001" * 200])
def test_a_long_text_is_cut_after_it_was_escaped(text: str) -> None:
    line = one_line(text)
    assert len(line) == 201
    assert line.endswith("…")
