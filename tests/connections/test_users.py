"""Users of connections, loaded as they are now."""

from typing import Any

import pytest
from django.contrib.auth.models import User

from django_etp.connections.users import load_users


@pytest.mark.django_db
def test_users_come_by_their_keys(django_assert_num_queries: Any) -> None:
    ana, ben = [User.objects.create(username=name) for name in ("ana", "ben")]
    with django_assert_num_queries(1):
        assert load_users([ana.pk, ben.pk, ana.pk, 99]) == {ana.pk: ana, ben.pk: ben}


@pytest.mark.django_db
def test_what_cannot_be_a_key_is_nobody(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        assert load_users(["device-7"]) == {}
