"""Decide whether two patterns of declared rooms can match one name.

Rules kept here:

- The answer is never wrong in the direction of "no": if it cannot be decided, the patterns are taken to overlap.
- The regular expression of a converter is understood if it is made of characters, classes such as ``[a-z]`` and
  ``\\d``, repetitions of these, and a choice among such texts, as in ``north|south``. Any other one is taken to match
  all text, with each ``/`` in it.
- A name is followed through both patterns at once. If some character can continue both, up to the end of both, they
  overlap.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

__all__ = ["Text", "can_overlap", "literal"]

# A class, an escape, or a character by itself; and how often it comes.
_ATOM = re.compile(
    r"(?P<class>\[\^?\]?(?:\\.|[^\]\\])*\]|\\[dDwWsS]|\\[^a-zA-Z0-9]|\.|[^\\\[\](){}*+?|^$.])"
    r"(?P<repeat>[*+?]|\{\d*,?\d*\})?",
    re.DOTALL,
)
# Such as \u0400 or \x20, which name characters that the text itself does not hold.
_OTHER_ESCAPE = re.compile(r"\\[abce-rt-vx-zABCE-RT-VX-Z0-9]")
_NAMED_CLASS = re.compile(r"\\[dDwWsS]")
_REPEATS = {"*": (0, None), "+": (1, None), "?": (0, 1)}
# Beyond these, a repetition counts as one without an end, and a choice as any text.
_MOST_REPEATS = 64
_MOST_CHOICES = 64
# All ASCII characters, and some others: a letter, a digit, a sign and a space, as \w, \d and \s distinguish them.
_SAMPLES = frozenset(map(chr, range(128))) | frozenset("é٣€\u2003")


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of text: one character of a class, as a regular expression.

    Attributes:
        matches: the class.
        is_optional: whether the piece may be missing.
        is_repeated: whether more characters of the class may follow.
    """

    matches: str
    is_optional: bool = False
    is_repeated: bool = False


_ANY = (Text("(?s:.)", is_optional=True, is_repeated=True),)


def literal(text: str) -> tuple[Text, ...]:
    """Return the pieces of a text that is to be matched as it is."""
    return tuple(Text(re.escape(character)) for character in text)


def can_overlap(one: Sequence[str | tuple[Text, ...]], other: Sequence[str | tuple[Text, ...]]) -> bool:
    """Return whether two patterns can match one name.

    A pattern is a sequence of literal pieces, made by literal(), and of regular expressions, as str.
    """
    ones, others = _choices(one), _choices(other)
    return any(_can_meet(first, second) for first in ones for second in others)


def _choices(pattern: Sequence[str | tuple[Text, ...]]) -> list[tuple[Text, ...]]:
    parts = [[part] if isinstance(part, tuple) else _read(part) for part in pattern]
    combined = [tuple(piece for part in each for piece in part) for each in _limited(product(*parts))]
    return combined if len(combined) <= _MOST_CHOICES else [_ANY]


def _limited(combinations: Iterable[tuple[tuple[Text, ...], ...]]) -> Iterator[tuple[tuple[Text, ...], ...]]:
    for number, each in enumerate(combinations):
        if number > _MOST_CHOICES:
            return
        yield each


def _read(regex: str) -> list[tuple[Text, ...]]:
    """Return the texts that a regular expression can match, as far as it is understood."""
    whole = re.fullmatch(r"\((?:\?:)?([^()]*)\)", regex)
    choices = [_read_simple(choice) for choice in (whole[1] if whole else regex).split("|")]
    return [_ANY] if None in choices else [choice for choice in choices if choice is not None]


def _read_simple(regex: str) -> tuple[Text, ...] | None:
    pieces: list[Text] = []
    position = 0
    while position < len(regex):
        atom = _ATOM.match(regex, position)
        if atom is None or regex.startswith(("?", "+"), atom.end()) or not _is_class(atom["class"]):
            return None
        position = atom.end()
        least, most = _bounds(atom["repeat"])
        if most is None or most > _MOST_REPEATS or least > _MOST_REPEATS:
            least, most = min(least, _MOST_REPEATS), None
        pieces += [Text(atom["class"])] * least
        if most is None:
            pieces.append(Text(atom["class"], is_optional=True, is_repeated=True))
        else:
            pieces += [Text(atom["class"], is_optional=True)] * (most - least)
    return tuple(pieces)


def _bounds(repeat: str | None) -> tuple[int, int | None]:
    if repeat is None:
        return 1, 1
    if repeat in _REPEATS:
        return _REPEATS[repeat]
    least, comma, most = repeat[1:-1].partition(",")
    return int(least or 0), (int(most) if most else None) if comma else int(least or 0)


def _is_class(text: str) -> bool:
    if _OTHER_ESCAPE.search(text):
        return False
    try:
        re.compile(text)
    except re.error:
        return False
    return True


def _can_meet(one: tuple[Text, ...], other: tuple[Text, ...]) -> bool:
    """Follow both sequences of pieces at once; return whether one text can lead to the end of both."""
    to_do, seen = [(0, 0)], {(0, 0)}
    while to_do:
        first, second = to_do.pop()
        if first == len(one) and second == len(other):
            return True
        for place in _next_places(one, first, other, second):
            if place not in seen:
                seen.add(place)
                to_do.append(place)
    return False


def _next_places(one: tuple[Text, ...], first: int, other: tuple[Text, ...], second: int) -> Iterator[tuple[int, int]]:
    if first < len(one) and one[first].is_optional:
        yield first + 1, second
    if second < len(other) and other[second].is_optional:
        yield first, second + 1
    if first < len(one) and second < len(other) and _share(one[first].matches, other[second].matches):
        for after_first in {first + 1, first} if one[first].is_repeated else {first + 1}:
            for after_second in {second + 1, second} if other[second].is_repeated else {second + 1}:
                yield after_first, after_second


@lru_cache(maxsize=4096)
def _share(one: str, other: str) -> bool:
    """Return whether some character is in both classes.

    If two classes of ranges share one, they share an end of a range, or a neighbour of one: these are tried. A class
    such as ``\\w`` is no range. Beside one, a range of other than ASCII characters may hold any.
    """
    for named, ranges in ((one, other), (other, one)):
        if _NAMED_CLASS.search(named) and not ranges.isascii():
            return True
    ends = {ord(character) for character in one + other}
    near = {chr(code + step) for code in ends for step in (-1, 0, 1) if 0 <= code + step < 0x110000}
    matches_one, matches_other = re.compile(one).fullmatch, re.compile(other).fullmatch
    return any(matches_one(character) and matches_other(character) for character in _SAMPLES | near)
