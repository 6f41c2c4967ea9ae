"""Users, as callers give them."""

import pytest
from django.contrib.auth.models import AnonymousUser, User

from django_etp import InvalidRoomName
from django_etp.rooms.users import identity


def test_a_user_and_the_key_have_one_name() -> None:
    assert identity(User(pk=5)) == identity(5) == identity("5") == "5"


@pytest.mark.parametrize("user", [AnonymousUser(), User(), None])
def test_who_has_no_key_has_no_name(user: object) -> None:
    with pytest.raises(InvalidRoomName):
        identity(user)
