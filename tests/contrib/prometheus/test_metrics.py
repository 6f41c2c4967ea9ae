"""The labels of the metrics, which clients must not be able to choose."""

import pytest

from django_etp.contrib.prometheus import metrics


@pytest.mark.parametrize(
    ("code", "label"),
    [(1000, "1000"), (1013, "1013"), (4013, "1013"), (4401, "4401"), (3999, "(other)"), (4999, "(other)")],
)
def test_a_close_code_is_one_of_a_few(code: int, label: str) -> None:
    assert metrics.code_label(code) == label


def test_events_without_a_handler_share_a_label() -> None:
    assert [metrics.event_label(name) for name in ("say", "", None)] == ["say", "", "(unknown)"]


def test_made_up_outcomes_share_a_label_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_outcomes", set())
    labels = [metrics.outcome_label(f"code-{number}") for number in range(100)]
    assert labels == [f"code-{number}" for number in range(64)] + ["(other)"] * 36
    assert metrics.outcome_label("code-0") == "code-0"


def test_all_names_begin_with_etp() -> None:
    names = [getattr(metrics, name)._name for name in metrics.__all__ if name.isupper()]
    assert len(names) > 10
    assert all(name.startswith("etp_") for name in names)
