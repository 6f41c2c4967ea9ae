"""Keys in the order of their times, with the time passed in."""

from django_etp.cluster.schedule import Schedule


def taken(schedule: Schedule, now: float) -> list[str]:
    """Take all keys that are due."""
    keys = []
    while (key := schedule.take(now)) is not None:
        keys.append(key)
    return keys


def test_those_that_are_due_are_taken_in_the_order_of_their_times():
    schedule = Schedule()
    for key, due_at in (("c", 3), ("a", 1), ("d", 4), ("b", 2)):
        schedule.add(key, due_at)
    assert taken(schedule, 0.9) == []
    assert taken(schedule, 3) == ["a", "b", "c"]
    assert list(schedule) == ["d"]
    assert taken(schedule, 5) == ["d"]
    assert len(schedule) == 0


def test_a_key_has_its_earliest_time_and_is_taken_once():
    schedule = Schedule()
    for due_at in (5, 2, 3):
        schedule.add("a", due_at)
    assert len(schedule) == 1
    assert taken(schedule, 2) == ["a"]
    assert taken(schedule, 10) == []


def test_a_key_that_was_taken_can_get_a_later_time():
    schedule = Schedule()
    schedule.add("a", 1)
    assert taken(schedule, 1) == ["a"]
    schedule.add("a", 7)
    assert taken(schedule, 6) == []
    assert taken(schedule, 7) == ["a"]


def test_a_key_that_was_removed_is_not_taken():
    schedule = Schedule()
    schedule.add("a", 1)
    schedule.add("b", 1)
    schedule.remove("a")
    schedule.remove("unknown")
    assert list(schedule) == ["b"]
    assert taken(schedule, 2) == ["b"]
    schedule.add("a", 1)
    assert taken(schedule, 2) == ["a"]
