"""Pages of rows that are spread over processes."""

from itertools import pairwise
from random import Random

import pytest

from django_etp.live.paging import Page, Place, merge

Row = tuple[int, int]


def page_of(processes: list[list[int]], place: Place) -> Page[Row]:
    """Return a page of (number, count), as the processes send it."""
    parts = []
    for numbers in processes:
        found, aside, total = place.cut(((number,), (number, 1)) for number in numbers)
        assert len(found) <= place.size + 1
        parts.append((found, aside, total))
    return merge(place, parts, lambda row: row[:1], lambda one, other: (one[0], one[1] + other[1]))


def numbers(page: Page[Row]) -> list[int]:
    return [number for number, _ in page.rows]


@pytest.mark.parametrize("seed", range(20))
def test_forward_and_backward_all_rows_come_once_in_order(seed: int) -> None:
    random = Random(seed)
    everything = random.sample(range(1000), random.randrange(1, 60))
    processes: list[list[int]] = [[] for _ in range(random.randrange(1, 5))]
    for number in everything:
        random.choice(processes).append(number)
    size, ordered = random.randrange(1, 12), sorted(everything)
    page = page_of(processes, Place(None, False, size))
    pages = [page]
    while page.has_next:
        page = page_of(processes, Place((numbers(page)[-1],), False, size))
        pages.append(page)
    assert [number for page in pages for number in numbers(page)] == ordered
    assert [page.start for page in pages] == list(range(0, len(ordered), size))
    assert {page.total for page in pages} == {len(ordered)}
    assert [page.has_previous for page in pages] == [False] + [True] * (len(pages) - 1)
    for before, page in pairwise(pages):
        back = page_of(processes, Place((numbers(page)[0],), True, size))
        assert numbers(back) == numbers(before)
        assert (back.start, back.total) == (before.start, len(ordered))
        assert (back.has_previous, back.has_next) == (before.has_previous, True)


def test_a_key_of_several_processes_is_one_row() -> None:
    processes = [[1, 2, 3, 4], [2, 4, 5], [4, 6]]
    assert page_of(processes, Place(None, False, 3)).rows == [(1, 1), (2, 2), (3, 1)]
    page = page_of(processes, Place((3,), False, 2))
    assert page.rows == [(4, 3), (5, 1)]
    assert (page.has_previous, page.has_next) == (True, True)
    assert page_of(processes, Place((5,), True, 2)).rows == [(3, 1), (4, 3)]


def test_rows_that_come_and_go_shift_no_page() -> None:
    before = page_of([[10, 20, 30, 40]], Place(None, False, 2))
    page = page_of([[1, 2, 3, 20, 30, 40]], Place((numbers(before)[-1],), False, 2))
    assert (numbers(page), page.start) == ([30, 40], 4)


def test_without_processes_the_page_is_empty() -> None:
    assert page_of([], Place((3,), False, 2)) == Page([], 0, 0, has_previous=False, has_next=False)
    assert not page_of([[7]], Place((3,), True, 2)).rows
