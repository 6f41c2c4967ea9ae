"""The fifty clients of `make chaos` that come and go, for seconds, and what the counts make of misses."""

from pathlib import Path
from typing import Any

import pytest

from .returns import CLIENTS, check, come_and_go, server_killed, store_emptied, way_cut


@pytest.mark.timeout(120)
async def test_clients_that_come_and_go_miss_nothing(tmp_path: Path) -> None:
    outcome = await come_and_go(
        "redis", tmp_path, [store_emptied, way_cut, server_killed], seconds=3, away=(0.0, 0.1, 0.3)
    )
    assert outcome.faults == []
    assert outcome.recovered > outcome.anew > 0, outcome
    assert outcome.killed == 1
    assert outcome.deliveries > CLIENTS * 10, outcome


@pytest.mark.parametrize(
    ("runs", "fault"),
    [
        ({"a": [["p:0", "p:1", "p:1"]]}, "a has got p:1 twice"),
        ({"a": [["p:0"], ["p:0"]]}, "a has got p:0 twice"),
        ({"a": [["p:0", "q:0", "p:1"]], "b": [["q:0", "p:0", "p:1"]]}, "after p:0, a has got q:0, and b p:1"),
        ({"a": [["p:1", "p:0"]]}, "a has got the events of p in another order: [1, 0]"),
        ({"a": [["p:0", "p:2"]]}, "a lacks [1] of p"),
        ({"a": [["p:0", "p:1", "p:2"]], "b": [["p:0", "p:2"]]}, "b lacks [1] of p"),
        ({"a": [["p:0", "p:2"], ["p:3"]]}, "a lacks [1] of p"),
    ],
)
def test_what_a_client_got_wrong_is_found(runs: dict[str, Any], fault: str) -> None:
    assert fault in check(runs, {"p:0", "p:1", "p:2", "p:3", "q:0"})


def test_what_is_unconfirmed_or_comes_before_a_new_start_may_be_missing() -> None:
    runs = {"a": [["p:0"], ["p:3", "q:0"]], "b": [["p:0", "p:2", "p:3", "q:0"]]}
    assert check(runs, {"p:0", "p:2", "p:3", "q:0"}) == []
