"""What a scope says of user and tenant in a site without tenants; test_tenancy.py has a site with some."""

from types import SimpleNamespace

from django.contrib.auth.models import AnonymousUser, User
from django.utils.functional import SimpleLazyObject

from django_etp.connections.scope import identity_of, schema_of, tenant_of, user_id_of


def test_user_is_named_by_the_primary_key():
    for user in (User(pk=5), SimpleNamespace(pk=5)):
        assert user_id_of({"user": user}) == 5


def test_lazy_user_is_looked_into():
    user = SimpleLazyObject(lambda: User(pk=5))
    assert user.pk == 5
    assert user_id_of({"user": user}) == 5


def test_anonymous_user_has_no_name():
    for scope in ({}, {"user": AnonymousUser()}):
        assert user_id_of(scope) is None
        assert identity_of(scope, None) is None


def test_tenant_of_another_kind_counts_as_none():
    scope = {"tenant": SimpleNamespace(schema_name="acme"), "user": User(pk=5)}
    assert tenant_of(scope) is None
    assert schema_of(scope) == ""
    assert identity_of(scope, 5) == 5
