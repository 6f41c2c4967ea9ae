"""Can two patterns match one name? Yes, no, or "it cannot be said", which counts as yes."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_etp.rooms.overlap import can_overlap, literal

INT, STR, SLUG, PATH = "[0-9]+", "[^/]+", "[-a-zA-Z0-9_]+", ".+"
UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"


def overlap(one: str | list[object], other: str | list[object]) -> bool:
    def parts(pattern: str | list[object]) -> list[object]:
        return [literal(pattern)] if isinstance(pattern, str) else pattern

    first, second = parts(one), parts(other)
    result = can_overlap(first, second)  # type: ignore[arg-type]
    assert can_overlap(second, first) is result  # type: ignore[arg-type]
    return result


def under(prefix: str, *parts: object) -> list[object]:
    return [literal(prefix), *parts]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("lobby", "news"),
        ("lobby", "lobb"),
        (under("orders/", INT), under("teams/", INT)),
        (under("orders/", INT), "orders/new"),
        (under("orders/", INT), under("orders/", INT, literal("/lines"))),
        (under("orders/", STR), under("orders/", STR, literal("/lines"))),
        (under("orders/", INT), under("orders/", UUID)),
        (under("orders/", "[0-9]{4}"), under("orders/", "[0-9]{5,}")),
        (under("", SLUG, literal("/board")), under("orders/", INT)),
        (under("", "north|south", literal("/x")), under("", "(?:east|west)", literal("/x"))),
        (under("a-", INT), under("a-", INT, literal("-b"))),
        (under("", "[あ-う]+", literal("/x")), under("", "[え-ん]+", literal("/x"))),
        (under("x/", r"\d+"), under("x/", "[a-z]+")),
        (under("orders/", "(?=x).*"), under("teams/", STR)),
    ],
)
def test_patterns_without_a_common_name(one: object, other: object) -> None:
    assert not overlap(one, other)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("lobby", "lobby"),
        (under("orders/", INT), under("orders/", STR)),
        (under("orders/", INT), under("orders/", SLUG)),
        (under("orders/", UUID), under("orders/", SLUG)),
        (under("orders/", STR), "orders/new"),
        (under("orders/", PATH), under("orders/", INT, literal("/lines"))),
        (under("", SLUG, literal("/5")), under("orders/", INT)),
        (under("", STR, literal("-b")), under("a-", STR)),
        (under("orders/", "[0-9]{4}"), under("orders/", INT)),
        (under("", "north|south", literal("/x")), under("south/", STR)),
        (under("", "[あ-う]+", literal("/x")), under("", "[い-ん]+", literal("/x"))),
        (under("", r"[あ-ん]+", literal("/x")), under("", r"\w+", literal("/x"))),
        (under("a", "[0-9]?", literal("b")), "ab"),
    ],
)
def test_patterns_with_a_common_name(one: object, other: object) -> None:
    assert overlap(one, other)  # type: ignore[arg-type]


@pytest.mark.parametrize("regex", ["(?!new)[a-z]+", "(ab)+", r"[\u0400-\u04ff]+", "a+?", "(a|b)c", "(?i:x)"])
def test_what_is_not_understood_may_match_anything(regex: str) -> None:
    assert overlap(under("x/", regex), "x/1234/5")
    assert not overlap(under("x/", regex), "y/1234/5")


REGEXES = st.sampled_from([INT, STR, SLUG, PATH, "[a-c]+", "[^a-c]", "ab|c", r"\d{2}", r"\w*", "x?", "."])
PATTERNS = st.lists(st.one_of(REGEXES, st.sampled_from(["a", "/", "b1"]).map(literal)), min_size=1, max_size=4)
NAMES = st.text("ab1/-cx", max_size=6)


@given(PATTERNS, PATTERNS, NAMES)
def test_no_name_matches_two_patterns_that_do_not_overlap(one: list[object], other: list[object], name: str) -> None:
    def matches(pattern: list[object]) -> bool:
        parts = (f"(?:{part})" if isinstance(part, str) else "".join(each.matches for each in part) for part in pattern)  # type: ignore[attr-defined]
        return re.fullmatch("".join(parts), name) is not None

    if matches(one) and matches(other):
        assert can_overlap(one, other)  # type: ignore[arg-type]
