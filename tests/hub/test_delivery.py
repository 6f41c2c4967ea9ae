"""Who gets a frame, in which form: guests of declared rooms, other members, and those whose join is under way."""

from types import SimpleNamespace
from typing import Any

import pytest

from django_etp.hub.delivery import deliver
from django_etp.hub.membership import Membership


class Member(SimpleNamespace):
    """A connection that keeps what it gets; as a guest of `room` it keeps what is held."""

    def __init__(self, membership: Membership, id: str, *rooms: str) -> None:
        super().__init__(id=id, namespace="n", is_accepted=True, frames=[])
        membership.add(self, None)  # type: ignore[arg-type]
        membership.enter(self)  # type: ignore[arg-type]
        membership.join(self, rooms)  # type: ignore[arg-type]

    def deliver(self, frame: str) -> None:
        self.frames.append(frame)


def guest(membership: Membership, member: Member, room: str, *, is_inside: bool) -> list[str]:
    """Make a member a guest, inside or waiting; return the frames that are held for it."""
    held: list[str] = []
    guest: Any = SimpleNamespace(id=member.id, key=("n", room), hold=held.append, is_waiting=not is_inside)
    membership.guests.add(guest)
    membership.join(member, [room])  # type: ignore[arg-type]
    (membership.guests.enter if is_inside else membership.guests.wait)(guest)
    return held


@pytest.fixture
def membership() -> Membership:
    return Membership()


def send(membership: Membership, *rooms: str | None, exclude: str = "") -> int:
    return len(deliver(membership, "n", rooms, "said||0", frozenset([exclude])))


def test_without_guests_all_members_get_the_frame_but_the_excluded(membership: Membership) -> None:
    ana, ben, cid = Member(membership, "a", "x"), Member(membership, "b", "x"), Member(membership, "c")
    assert send(membership, "x", exclude="b") == 2
    assert (ana.frames, ben.frames, cid.frames) == (["said||0"], [], [])


def test_guests_alone_share_one_frame(membership: Membership) -> None:
    members = [Member(membership, id) for id in "abc"]
    for member in members:
        guest(membership, member, "x", is_inside=True)
    send(membership, "x", exclude="c")
    assert [member.frames for member in members] == [["__in x said||0"], ["__in x said||0"], []]
    assert members[0].frames[0] is members[1].frames[0]


def test_guests_beside_other_members(membership: Membership) -> None:
    ana, ben, cid = Member(membership, "a", "x"), Member(membership, "b"), Member(membership, "c")
    guest(membership, ben, "x", is_inside=True)
    held = guest(membership, cid, "x", is_inside=False)
    assert send(membership, "x") == 3
    assert (ana.frames, ben.frames, cid.frames, held) == (["said||0"], ["__in x said||0"], [], ["__in x said||0"])


@pytest.mark.parametrize(
    ("inside", "waiting", "plain", "frames", "held"),
    [
        ("x", "", "", ["__in x said||0"], []),
        ("y", "", "x", ["__in y said||0"], []),
        ("", "x", "y", ["said||0"], []),
        ("y", "x", "", ["__in y said||0"], []),
        ("", "x", "", [], ["__in x said||0"]),
    ],
)
def test_of_several_rooms_one_frame_reaches_each(
    inside: str, waiting: str, plain: str, frames: list[str], held: list[str], membership: Membership
) -> None:
    member = Member(membership, "a", *plain)
    for room in inside:
        guest(membership, member, room, is_inside=True)
    kept = [frame for room in waiting for frame in [guest(membership, member, room, is_inside=False)]]
    send(membership, "x", "y", "z")
    assert member.frames == frames
    assert [frame for each in kept for frame in each] == held


def test_a_guest_whose_connection_has_ended_counts_no_more(membership: Membership) -> None:
    ana, ben = Member(membership, "a"), Member(membership, "b", "x")
    guest(membership, ana, "x", is_inside=True)
    membership.remove(ana)  # type: ignore[arg-type]
    send(membership, "x")
    assert (ana.frames, ben.frames) == ([], ["said||0"])
    assert [each.id for each in membership.guests.of("a")] == ["a"]


def test_to_no_room_is_to_no_member(membership: Membership) -> None:
    member = Member(membership, "a")
    guest(membership, member, "x", is_inside=True)
    assert send(membership) == 0
    assert member.frames == []


def test_a_broadcast_is_in_no_room(membership: Membership) -> None:
    member = Member(membership, "a")
    guest(membership, member, "x", is_inside=True)
    send(membership, None)
    assert member.frames == ["said||0"]
