"""How far clocks are off."""

import pytest

from django_etp.doctor.clocks import check_clocks, skew


@pytest.mark.parametrize(
    ("clock", "seconds"), [(100.0, 0.0), (101.5, 0.0), (102.0, 0.0), (142.0, 40.0), (60.0, -40.0), (99.5, -0.5)]
)
def test_a_clock_is_off_by_what_the_question_and_its_answer_do_not_explain(clock: float, seconds: float) -> None:
    assert skew(100.0, 102.0, clock) == seconds


def test_clocks_that_agree_are_ok() -> None:
    assert check_clocks([("process a", 0.0), ("process b", 0.9)]).status == "ok"


def test_clocks_40_seconds_apart_are_named() -> None:
    finding = check_clocks([("process a", 0.1), ("process b", -40.0), ("process c", 40.0)])
    assert finding.status == "failure"
    assert finding.came == "process b is 40.0 s behind; process c is 40.0 s ahead"
    assert "NTP" in finding.remedy


def test_a_few_seconds_are_a_warning() -> None:
    assert check_clocks([("process a", 2.0)]).status == "warning"
