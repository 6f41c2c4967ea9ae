"""Who is in which room: changes, the groups that they return, and views of the members."""

from dataclasses import dataclass
from typing import Any, cast

from django_etp.hub.members import Member
from django_etp.hub.membership import Membership
from django_etp.hub.names import group_name, user_room


@dataclass(eq=False)
class Visitor:
    """As much of a member as membership looks at."""

    id: str
    namespace: str = "default"
    is_accepted: bool = True


def member(id: str, **options: Any) -> Member:
    return cast(Member, Visitor(id, **options))


def groups(*rooms: str | None, namespace: str = "default") -> list[str]:
    return [group_name(namespace, room) for room in rooms]


def membership_of(*members: Member, user_id: object = None) -> Membership:
    """Return a membership that these have entered."""
    membership = Membership()
    for each in members:
        membership.add(each, user_id)
        membership.enter(each)
    return membership


def test_a_connection_enters_the_rooms_that_it_cannot_leave() -> None:
    membership, ann, bob = Membership(), member("a"), member("b")
    membership.add(ann, 7)
    membership.add(bob, None)
    assert "a" in membership
    assert membership.present("default", [None]) == ()
    assert membership.enter(ann) == groups(None, user_room(7))
    assert membership.enter(bob) == groups(None)
    assert membership.leave(ann, [user_room(7)]) == []
    assert membership.present("default", [None]) == (ann, bob)
    assert membership.of_user(7) == [ann]
    assert membership.rooms_of("a") == frozenset()


def test_each_join_returns_its_groups_and_a_leave_those_that_are_empty() -> None:
    ann, bob = member("a"), member("b")
    membership = membership_of(ann, bob)
    assert membership.join(ann, ["x", "y"]) == groups("x", "y")
    assert membership.join(bob, ["x"]) == membership.join(bob, ["x"]) == groups("x")
    assert membership.leave(ann, ["x", "y", "never"]) == groups("y")
    assert membership.leave(bob, ["x"]) == groups("x")
    assert membership.leave(bob, ["x"]) == []
    assert membership.names("default") == []


def test_a_connection_that_is_removed_leaves_all_its_rooms() -> None:
    ann, bob = member("a"), member("b")
    membership = membership_of(ann, bob, user_id=7)
    membership.join(ann, ["x", "y"])
    membership.join(bob, ["y"])
    assert membership.is_alone(ann)
    assert not membership.is_alone(bob)
    assert membership.remove(ann) == groups("x")
    assert membership.remove(ann) == []
    assert "a" not in membership
    assert membership.all() == membership.of_user(7) == [bob]
    assert set(membership.remove(bob)) == set(groups("y", None, user_room(7)))
    assert membership.namespaces == {"default"}


def test_of_many_namespaces_those_without_a_connection_are_forgotten() -> None:
    membership = membership_of()
    stays = member("stays", namespace="stays")
    membership.add(stays, None)
    membership.enter(stays)
    for number in range(1500):
        tenant = member(str(number), namespace=f"tenant {number}")
        membership.add(tenant, None)
        membership.enter(tenant)
        membership.remove(tenant)
    assert len(membership.namespaces) <= 1001
    assert "stays" in membership.namespaces
    assert "tenant 1499" not in membership.namespaces


def test_a_change_of_user_moves_a_connection_between_users_rooms() -> None:
    ann = member("a")
    membership = membership_of(ann)
    assert membership.change_user(ann, 7) == ([], groups(user_room(7)))
    assert membership.change_user(ann, 8) == (groups(user_room(7)), groups(user_room(8)))
    assert (membership.of_user(7), membership.of_user(8)) == ([], [ann])
    assert membership.change_user(ann, 8) == ([], [])
    membership.remove(ann)
    assert membership.change_user(ann, 9) == ([], [])
    assert membership.of_user(9) == []


def test_connections_that_are_not_accepted_are_present_and_do_not_count() -> None:
    ann, new = member("a"), member("n", is_accepted=False)
    membership = membership_of(ann, new)
    membership.join(ann, ["x"])
    membership.join(new, ["x", "y"])
    assert membership.present("default", ["x"]) == (ann, new)
    assert membership.members("default", "x") == membership.members("default") == [ann]
    assert membership.names("default") == ["x"]
    assert membership.find("n") is membership.get("default", "n") is new


def test_a_member_of_several_rooms_is_present_once() -> None:
    ann, bob = member("a"), member("b")
    membership = membership_of(ann, bob)
    membership.join(ann, ["x", "y"])
    membership.join(bob, ["y"])
    assert membership.present("default", ["x", "y", "empty"]) == (ann, bob)
    assert membership.present("default", ["x", "empty"]) == (ann,)
    assert membership.present("default", []) == ()


def test_namespaces_are_apart() -> None:
    ann, gamer = member("a"), member("g", namespace="game")
    membership = membership_of(ann, gamer, user_id=7)
    membership.join(ann, ["x"])
    membership.join(gamer, ["x"])
    assert membership.members("game", "x") == membership.members("game") == [gamer]
    assert membership.get("default", "g") is None
    assert membership.find("g") is gamer
    assert sorted(each.id for each in membership.of_user(7)) == ["a", "g"]
    assert membership.namespaces == {"default", "game"}
    assert membership.room_of(group_name("game", "x")) == ("game", "x")
    membership.leave(gamer, ["x"])
    assert membership.room_of(group_name("game", "x")) is None


def test_rooms_are_counted_by_namespace_without_those_that_none_can_leave() -> None:
    ann, gamer = member("a"), member("g", namespace="game")
    membership = membership_of(ann, gamer, user_id=7)
    membership.join(ann, ["x", "y"])
    membership.join(gamer, ["x"])
    assert membership.count_rooms() == {"default": 2, "game": 1}


def test_a_listener_is_in_a_reserved_room_and_counted_nowhere() -> None:
    membership = Membership()
    listener = member("listener", is_accepted=False)
    assert membership.listen(listener, "__test") == [group_name("default", "__test")]
    assert membership.present("default", ["__test"]) == (listener,)
    assert membership.all() == []
    assert membership.names("default") == []
    assert membership.remove(listener) == [group_name("default", "__test")]
    assert membership.present("default", ["__test"]) == ()
