"""Pages of rows that are spread over processes.

Rules kept here:

- A page begins behind a key, or ends before one, and not at a number: rows come and go meanwhile.
- Each process sends no more rows than a page has, and one. So a reply is small, however many rows there are.
- A key that several processes have is one row.
"""

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Generic, TypeVar

__all__ = ["Page", "Place", "merge"]

Key = tuple[Any, ...]
_Row = TypeVar("_Row")


@dataclass(frozen=True, slots=True)
class Page(Generic[_Row]):
    """A page of rows.

    Attributes:
        rows: the rows, in order.
        start: how many rows are before it; rows that several processes have count more than once.
        total: how many rows there are, counted likewise.
        has_previous: whether there are rows before it.
        has_next: whether there are rows after it.
    """

    rows: list[_Row]
    start: int
    total: int
    has_previous: bool
    has_next: bool


@dataclass(frozen=True, slots=True)
class Place:
    """Which page is wanted.

    Attributes:
        key: the key that the page begins behind, or ends before; ``None`` for the first page.
        is_backward: whether the page ends before the key.
        size: the number of rows of a page.
    """

    key: Key | None
    is_backward: bool
    size: int

    def cut(self, rows: Iterable[tuple[Key, _Row]]) -> tuple[list[_Row], int, int]:
        """Return what one process sends: its rows for the page, how many are on the key's side, and how many in all.

        ``rows`` are the rows of the process with their keys, in any order. Rows on the key's side are those up to the
        key of a page that begins behind it, and those before the key of a page that ends there.
        """
        key, wanted, aside, total = self.key, [], 0, 0
        for row in rows:
            total += 1
            if self.is_backward and key is not None:
                if row[0] < key:
                    aside += 1
                    wanted.append(row)
            elif key is None or row[0] > key:
                wanted.append(row)
            else:
                aside += 1
        choose = heapq.nlargest if self.is_backward else heapq.nsmallest
        return [row for _, row in choose(self.size + 1, wanted, key=itemgetter(0))], aside, total


def merge(
    place: Place,
    parts: Iterable[tuple[list[_Row], int, int]],
    key_of: Callable[[_Row], Key],
    add: Callable[[_Row, _Row], _Row] = lambda row, _: row,
) -> Page[_Row]:
    """Return the page that the parts of the processes make; ``add`` makes one row of two with the same key."""
    rows: dict[Key, _Row] = {}
    aside = total = 0
    for part, part_aside, part_total in parts:
        aside, total = aside + part_aside, total + part_total
        for row in part:
            key = key_of(row)
            rows[key] = add(rows[key], row) if key in rows else row
    keys = sorted(rows, reverse=place.is_backward)
    has_more, keys = len(keys) > place.size, sorted(keys[: place.size])
    found = [rows[key] for key in keys]
    if place.is_backward:
        return Page(found, aside - len(found), total, has_previous=has_more, has_next=total > aside)
    return Page(found, aside, total, has_previous=aside > 0, has_next=has_more)
