"""Whether this process drains."""

from django_etp.draining import Draining, draining


def test_a_process_does_not_drain_from_its_start() -> None:
    for each in (Draining(), draining):
        assert not each.has_begun
        assert each.closes is None


def test_a_reset_forgets_the_drain() -> None:
    process = Draining()
    process.has_begun, process.closes = True, bool
    process.reset()
    assert (process.has_begun, process.closes) == (False, None)
