"""Users who have changed since their connections were opened."""

from django_etp.hub.changed_users import ChangedUsers


def test_users_are_kept_for_a_minute_and_while_they_have_connections() -> None:
    changed = ChangedUsers(lambda user_id: user_id == "1")
    changed.add("1", 0.0)
    changed.add("2", 0.0)
    assert 1 in changed
    assert "2" in changed
    for number in range(10, 1010):
        changed.add(str(number), 61.0)
    assert 1 in changed
    assert "2" not in changed
    assert "1009" in changed


def test_users_who_have_not_changed_are_not_in_it() -> None:
    changed = ChangedUsers(lambda user_id: False)
    assert 1 not in changed
    changed.add("1", 0.0)
    assert 2 not in changed


def test_many_changes_at_once_are_tidied_a_few_times() -> None:
    asked: list[str] = []
    changed = ChangedUsers(lambda user_id: bool(asked.append(user_id)))  # type: ignore[func-returns-value]
    for number in range(10_000):
        changed.add(str(number), float(number))
    assert len(asked) < 20_000
