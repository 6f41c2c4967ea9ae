"""The findings of checks."""

from django_etp.doctor.findings import Finding, Status, failure, ok, skipped, warning


def test_each_way_to_end_has_its_status() -> None:
    assert ok("a", "x", "y", seconds=1) == Finding("a", Status.OK, "x", "y", "", {"seconds": 1})
    assert warning("a", "x", "y", "do") == Finding("a", Status.WARNING, "x", "y", "do")
    assert failure("a", "x", "y", "do") == Finding("a", Status.FAILURE, "x", "y", "do")
    assert skipped("a", "x", "why") == Finding("a", Status.SKIPPED, "x", "why")
