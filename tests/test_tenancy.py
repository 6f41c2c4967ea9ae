"""Tenants with a PostgreSQL schema each, on a real server: what belongs to one reaches no other."""

from collections.abc import Iterator

import pytest

from django_etp import tenancy
from tests.support.peers import eventually, expect_close, receive
from tests.support.tenants import USERS, TenantSite, ask, start_tenant_site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TenantSite]:
    with start_tenant_site(tmp_path_factory.mktemp("tenants")) as site:
        yield site


def enter(site: TenantSite, user: int) -> tuple[str, str]:
    """Log in the users of acme and beta with the same key; return their cookies."""
    return site.get("acme", f"/enter/{user}/")[1], site.get("beta", f"/enter/{user}/")[1]


async def test_users_room_is_that_of_its_tenant(site: TenantSite):
    acme, beta = enter(site, 1)
    async with site.connect("acme", acme) as ours, site.connect("beta", beta) as theirs:
        for path in ("/notify/", "/anotify/"):
            site.get("acme", path, acme)
        assert [await receive(ours) for _ in range(3)] == [
            "note||0||from acme",
            "note||0||by key from acme",
            "note||0||async from acme",
        ]
        assert await ask(theirs, "room", 1) != await ask(ours, "room", 1)  # and nothing was received before this
        assert await ask(ours, "room from a thread", 1) == ["__user.1", await ask(ours, "room", 1)]


async def test_another_user_of_a_handler_is_of_the_same_tenant(site: TenantSite):
    beta = site.get("beta", "/enter/2/")[1]
    async with site.connect("acme") as ours, site.connect("beta") as theirs:
        await ask(ours, "log in", 2)
        await ask(theirs, "log in", 2)
        site.get("beta", "/anotify/", beta)
        assert await receive(theirs) == "note||0||async from beta"
        assert await ask(ours, "room", 2) == "__user.4:acme:2"


async def test_data_is_in_the_session_of_the_tenant(site: TenantSite):
    acme, beta = enter(site, 1)
    async with site.connect("acme", acme) as ours, site.connect("beta", beta) as theirs:
        await ask(ours, "remember", "ours")
        await ask(theirs, "remember", "theirs")
        assert await ask(ours, "recall") == [{"text": "ours"}]
        assert await ask(theirs, "recall") == [{"text": "theirs"}]
        assert site.get("beta", "/change_data/", beta)[0] == "1"
        assert await ask(theirs, "recall") == [{"text": "by a view"}]
        assert "2 connections" in site.manage("etp_clear_data", "--all")
        assert await ask(ours, "recall") == await ask(theirs, "recall") == []


async def test_handlers_query_the_tenant_and_leave_the_thread_in_the_public_schema(site: TenantSite):
    def users_of(tenant: str) -> list[str]:
        return [f"{tenant}{key}" for key in range(1, USERS + 1)]

    async with site.connect("acme") as ours, site.connect("beta") as theirs, site.connect("public") as none:
        for event in ("users", "ausers"):  # all in one thread
            assert await ask(ours, event) == users_of("acme")
            assert await ask(none, event) == users_of("public")
            assert await ask(theirs, event) == users_of("beta")
        assert await ask(ours, "tenant") == ["acme", "Acme"]
        await ask(ours, "forget to reset")
        assert await ask(none, "users") == users_of("public")
        await ask(none, "forget to reset")
        assert await ask(none, "tenant") == ["public", ""]


async def test_the_live_page_shows_all_tenants_to_the_public_admin_and_nothing_to_others(site: TenantSite):
    page = "/admin/django_etp/live/"
    async with site.connect("acme", site.get("acme", "/enter/1/")[1]):
        public, acme = (site.get(tenant, f"/enter/{USERS}/")[1] for tenant in ("public", "acme"))
        assert page in site.get("public", "/admin/", public)[0]
        assert "acme1" in site.get("public", f"{page}data/", public)[0]
        assert page not in site.get("acme", "/admin/", acme)[0]
        for path in (page, f"{page}data/", f"{page}rooms/data/"):
            site.get("acme", path, acme, status=403)


async def test_logout_closes_sockets_of_the_tenant_alone(site: TenantSite):
    acme, beta = enter(site, 3)
    async with site.connect("acme", acme) as ours, site.connect("beta", beta) as theirs:
        site.get("acme", "/leave/", acme)
        assert await expect_close(ours) == (4401, "logged out")
        assert await ask(theirs, "tenant") == ["beta", "Beta"]


async def test_changed_user_is_checked_in_the_tenant(site: TenantSite):
    acme, beta = enter(site, 4)
    async with site.connect("acme", acme) as ours, site.connect("beta", beta) as theirs:
        site.get("beta", "/save/", beta)
        site.get("acme", "/change_password/", acme)
        assert (await expect_close(ours))[0] == 4401
        assert await ask(theirs, "tenant") == ["beta", "Beta"]


async def test_check_at_intervals_looks_into_the_schema_of_each_connection(site: TenantSite):
    acme, beta = enter(site, 5)
    async with site.connect("acme", acme) as ours, site.connect("beta", beta) as theirs:
        site.get("beta", "/deactivate/", beta)  # by an UPDATE, which sends no signal
        assert (await expect_close(theirs))[0] == 4401
        assert await ask(ours, "tenant") == ["acme", "Acme"]


async def test_end_of_a_connection_removes_its_data(site: TenantSite):
    acme, _ = enter(site, 6)
    async with site.connect("acme", acme) as ours:
        await ask(ours, "remember", "for now")

    async def found() -> str:
        return site.manage("etp_clear_data", "--all")

    assert "0 connections" in await eventually(found, lambda text: "Removed" in text)


@pytest.mark.parametrize(
    ("settings", "room"),
    [
        ('TENANT_APPS = ["chat"]', "__user.5"),
        ('TENANT_APPS = ["django.contrib.auth.apps.AuthConfig"]', "__user.4:acme:5"),
        ('TENANT_TYPES = {"public": {"APPS": SHARED_APPS}, "a": {"APPS": ["chat"]}}', "__user.5"),
        ('TENANT_TYPES = {"public": {"APPS": []}, "a": {"APPS": SHARED_APPS}}', "__user.4:acme:5"),
    ],
)
def test_users_that_all_tenants_share_have_one_room(site: TenantSite, settings: str, room: str):
    more = "HAS_MULTI_TYPE_TENANTS, MULTI_TYPE_DATABASE_FIELD = True, 'type'\ndel TENANT_APPS\n" * ("TYPES" in settings)
    (site.project / "mysite" / "settings_shared.py").write_text(f"from .settings_tenants import *\n{more}{settings}\n")
    script = (
        "from django.db import connection; from django_etp import rooms; connection.set_schema('acme', tenant_type='a')"
    )
    arguments = "shell", "--settings=mysite.settings_shared", "-v0", "-c", f"{script}; print(rooms.user(5))"
    assert site.manage(*arguments) == f"{room}\n"


def test_site_without_tenants_has_plain_names():
    assert not tenancy.has_tenants()
    assert tenancy.identity(None, 5, "acme") == 5
    assert tenancy.current_schema() == ""
    assert tenancy.all_schemas() == [""]


@pytest.mark.parametrize(("tenant", "name"), [(None, ""), ("public", ""), ("acme", "acme"), (object(), "")])
def test_schema_name_of_a_tenant(tenant: object, name: str):
    assert tenancy.schema_name(tenant) == name
