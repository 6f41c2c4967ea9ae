"""Quote text that a peer has sent, for logs and terminals."""

import logging

import pytest

from django_etp.quoting import escape, line_of, one_line, quote_traceback


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


class Unreadable(Exception):
    def __str__(self) -> str:
        raise ZeroDivisionError


def test_an_error_takes_one_line_and_one_without_a_text_has_a_stand_in() -> None:
    assert line_of(ValueError("a\nb" + "x" * 2000)) == r"a\nb" + "x" * 996 + "…"
    assert line_of(Unreadable()) == "(its text cannot be read)"


FORGED = "2026-11-29 00:00:00,000 CRITICAL root logged in"
HOSTILE = f"oops\n{FORGED}\r{FORGED}\u2028{FORGED}\x1b[2J" + "x" * 5000


def chained() -> None:
    try:
        raise KeyError(HOSTILE)
    except KeyError as error:
        raise ValueError(HOSTILE) from error


def noted() -> None:
    error = ValueError("x")
    error.add_note(HOSTILE)
    error.add_note(f'  File "x"\r{FORGED}\n{FORGED}')
    error.add_note(f"Traceback \x1b[2J\n{FORGED}")
    raise error


def grouped() -> None:
    raise ExceptionGroup(HOSTILE, [ValueError(HOSTILE), OSError(HOSTILE)])


def misspelt() -> None:
    compile(f"x = (\r{FORGED}", f"a\n{FORGED}", "exec")


def unreadable() -> None:
    raise Unreadable


@pytest.mark.parametrize("fail", [chained, noted, grouped, misspelt, unreadable])
def test_a_traceback_holds_no_line_of_an_errors_text(fail: object, caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("tests.quoting")
    logger.addFilter(quote_traceback)
    try:
        fail()  # type: ignore[operator]
    except Exception as error:
        logger.error("failed", exc_info=error)
    lines = logging.Formatter().format(caplog.records[-1]).splitlines()
    assert lines[:2] == ["failed", "Traceback (most recent call last):"] or fail is grouped
    assert f"in {fail.__name__}" in "".join(lines)  # type: ignore[attr-defined]
    assert not [line for line in lines if line.startswith(FORGED[:10])]
    assert all(line.isprintable() and len(line) <= 1003 for line in lines)
