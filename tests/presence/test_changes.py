"""What members are told, each since its mark."""

from django_etp.presence.changes import Changes, Difference
from django_etp.presence.entries import Shown


def shown(key: str, connections: int = 1) -> Shown:
    return Shown(key, "{}", 1.0, connections)


def test_each_member_is_told_what_has_changed_since_its_mark() -> None:
    changes, now = Changes(), {"ana": shown("ana")}
    changes.record("ana", None)
    mark = changes.mark
    now["bob"] = shown("bob")
    changes.record("bob", None)
    assert changes.since(0, now) == Difference(joined=(now["ana"], now["bob"]))
    assert changes.since(mark, now) == Difference(joined=(now["bob"],))
    assert not changes.since(changes.mark, now)


def test_a_key_is_told_once_as_it_is_in_the_end() -> None:
    changes = Changes()
    changes.record("ana", None)
    changes.record("ana", shown("ana"))
    changes.record("bob", shown("bob"))
    changes.record("cleo", None)
    changes.record("dora", shown("dora", 2))
    now = {"ana": shown("ana", 2), "dora": shown("dora", 3)}
    assert changes.since(0, now) == Difference((now["ana"],), (now["dora"],), ("bob",))


def test_who_left_and_came_back_as_before_is_not_told() -> None:
    changes = Changes()
    changes.record("ana", shown("ana"))
    changes.record("ana", None)
    assert not changes.since(0, {"ana": shown("ana")})


def test_after_an_announcement_it_begins_anew() -> None:
    changes = Changes()
    changes.record("ana", None)
    changes.clear()
    assert changes.mark == 0
    assert not changes.since(0, {"ana": shown("ana")})
