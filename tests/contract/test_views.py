"""The pages of the contract: who may see them, and what they hold."""

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import yaml
from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import include, path
from pydantic import BaseModel

from django_etp import Connection, etp_event, etp_room, outgoing
from tests.support.contracts import NAMESPACE, declare, output

urlpatterns = [path("contract/", include("django_etp.contract.urls"))]


def login(request: HttpRequest) -> HttpResponse:
    """Stand for the login of the admin, which is not installed."""
    return HttpResponse()


with_admin = ModuleType("with_admin")
with_admin.urlpatterns = [*urlpatterns, path("admin/", include(([path("login/", login, name="login")], "admin")))]  # type: ignore[attr-defined]
renamed = ModuleType("renamed")
renamed.urlpatterns = [path("api/", include("django_etp.contract.urls", namespace="api"))]  # type: ignore[attr-defined]
for module in (with_admin, renamed):
    sys.modules[module.__name__] = module

pytestmark = [pytest.mark.usefixtures("etp_registry"), pytest.mark.urls(__name__)]

SHOP = "/contract/shop/"
DOWNLOADS = [f"{SHOP}asyncapi.json", f"{SHOP}asyncapi.yaml", f"{SHOP}contract.d.ts"]


class Hook(BaseModel):
    run: Callable[[], None]


@pytest.fixture(autouse=True)
def _in_debug(settings: Any) -> None:
    settings.DEBUG = True


@pytest.fixture
def _in_production(settings: Any) -> None:
    settings.DEBUG = False


@pytest.fixture
def kept() -> list[Any]:
    return declare()


def get(url: str, user: Any = None, **headers: str) -> Any:
    client = Client(headers=headers)
    if user is not None:
        client.force_login(user)
    return client.get(url)


def text_of(url: str) -> str:
    response = get(url)
    assert response.status_code == 200
    text: str = response.content.decode()
    return text


# Who may see it


@pytest.mark.parametrize("url", ["/contract/", SHOP, *DOWNLOADS])
def test_everybody_may_see_it_in_debug(kept: list[Any], url: str) -> None:
    assert get(url).status_code in (200, 302)


@pytest.mark.usefixtures("_in_production")
@pytest.mark.django_db
@pytest.mark.parametrize("url", ["/contract/", SHOP, *DOWNLOADS])
def test_staff_may_see_it_and_others_may_not(kept: list[Any], url: str) -> None:
    staff = User.objects.create_user("staff", is_staff=True)
    member = User.objects.create_user("member")
    assert get(url, staff).status_code in (200, 302)
    assert get(url, member).status_code == 403
    response = get(url)
    assert (response.status_code, response["Location"]) == (302, f"/accounts/login/?next={url}")


@pytest.mark.usefixtures("_in_production")
@pytest.mark.django_db
@pytest.mark.urls("with_admin")
def test_others_go_to_the_login_of_the_admin_where_there_is_one(kept: list[Any]) -> None:
    for user in (None, User.objects.create_user("member")):
        response = get(SHOP, user)
        assert (response.status_code, response["Location"]) == (302, f"/admin/login/?next={SHOP}")


@pytest.mark.usefixtures("_in_production")
@pytest.mark.parametrize("middleware", [[], ["tests.contract.test_views.odd_users"]])
def test_a_project_without_users_or_with_odd_ones_shows_it_to_nobody(
    kept: list[Any], settings: Any, middleware: list[str]
) -> None:
    settings.MIDDLEWARE = middleware
    assert get(SHOP).status_code == 403


def odd_users(get_response: Any) -> Any:
    """Log everybody in as a user without the fields of Django's."""

    def middleware(request: HttpRequest) -> HttpResponse:
        request.user = type("Odd", (), {"is_authenticated": True})()  # type: ignore[assignment]
        answer: HttpResponse = get_response(request)
        return answer

    return middleware


def test_it_needs_no_login_in_debug_where_all_other_pages_do(kept: list[Any], settings: Any) -> None:
    settings.MIDDLEWARE = [
        "tests.contract.test_views.visitors",
        "django.contrib.auth.middleware.LoginRequiredMiddleware",
    ]
    for url in (SHOP, "/contract/contract.css", "/contract/contract.js"):
        assert get(url).status_code == 200


def visitors(get_response: Any) -> Any:
    """Take everybody for anonymous, without a session."""

    def middleware(request: HttpRequest) -> HttpResponse:
        request.user = AnonymousUser()
        answer: HttpResponse = get_response(request)
        return answer

    return middleware


# What it holds


def test_the_only_namespace_is_where_the_index_leads() -> None:
    etp_event("say", namespace="a/b c")(lambda connection, event: None)
    response = get("/contract/")
    assert (response.status_code, response["Location"]) == (302, "/contract/a/b%20c/")


def test_several_namespaces_are_listed(kept: list[Any]) -> None:
    said = outgoing("said", int, namespace="a/b c")
    text = text_of("/contract/")
    assert f'<a href="{SHOP}">shop</a>' in text
    assert '<a href="/contract/a/b%20c/">a/b c</a>' in text
    assert '<a href="/contract/">Contracts</a>' in text_of(SHOP)
    assert said


def test_a_project_without_events_has_an_empty_list() -> None:
    assert "no events and no rooms yet" in text_of("/contract/")


@pytest.mark.parametrize("url", ["", "asyncapi.json", "asyncapi.yaml", "contract.d.ts"])
def test_a_namespace_that_is_not_there_is_not_found(url: str) -> None:
    assert get(f"/contract/nosuch/{url}").status_code == 404


def test_the_page_shows_both_directions_rooms_and_rules(kept: list[Any]) -> None:
    @etp_room("secrets/<int:pk>", namespace=NAMESPACE)
    def secret_room(connection: Connection, pk: int): ...

    @secret_room.allow
    def may_see(user: Any, pk: int) -> bool:
        """Owners alone."""
        return True

    @secret_room.on_leave
    def seen(connection: Connection, pk: int) -> None: ...

    text = text_of(SHOP)
    for part in (
        '<h3><code>words</code> <span class="mark">stream</span></h3>',
        "Others hear it.",
        '<h2 id="sent">Events that the server sends</h2>',
        "<h3><code>said</code></h3>",
        "orders/&lt;int:pk&gt;",
        "<dd><code>pk</code>: int</dd>",
        "<dd>Users who are logged in</dd>",
        "<dd>Users with the permission <code>shop.view</code></dd>",
        "Owners alone.",
        "may_see (",
        "seen (",
        "<dd>All clients</dd>",
        "<dd>100 events, for 300 s</dd>",
        "<code>rate_limited</code>",
    ):
        assert part in text


def test_the_downloads_are_what_the_command_prints(kept: list[Any]) -> None:
    document, text, types = (get(url) for url in DOWNLOADS)
    assert (document["Content-Type"], document.content.decode()) == ("application/json", output().rstrip())
    assert yaml.safe_load(text.content) == document.json()
    assert types.content.decode() == output("--typescript")
    assert types["Content-Disposition"] == 'attachment; filename="contract.d.ts"'
    page = text_of(SHOP)
    assert [url for url in DOWNLOADS if f'href="{url}"' not in page] == []


def test_there_is_no_yaml_without_pyyaml(kept: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    assert "asyncapi.yaml" not in text_of(SHOP)
    assert get(DOWNLOADS[1]).status_code == 404


@pytest.mark.parametrize("url", ["", "asyncapi.json", "asyncapi.yaml", "contract.d.ts"])
def test_a_type_without_a_schema_is_named_with_its_place(url: str) -> None:
    @etp_event("hang", namespace="n")
    def hang(connection: Connection, hook: Hook) -> None: ...

    response = get(f"/contract/n/{url}")
    assert response.status_code == 500
    assert "The event &#x27;hang&#x27;, handled by tests.contract.test_views." in response.content.decode()


@pytest.mark.urls("renamed")
def test_the_urls_may_have_another_name(kept: list[Any]) -> None:
    text = text_of("/api/shop/")
    assert 'href="/api/contract.css"' in text
    assert 'href="/api/shop/asyncapi.json"' in text


def test_a_page_is_not_cached_and_brings_its_policy(kept: list[Any]) -> None:
    response = get(SHOP)
    assert "no-store" in response["Cache-Control"]
    directives = dict(each.split(maxsplit=1) for each in response["Content-Security-Policy"].split("; "))
    assert directives["default-src"] == "'none'"
    assert {value for name, value in directives.items() if name.endswith("-src")} == {"'none'", "'self'"}


def test_the_pages_can_be_read_only(kept: list[Any]) -> None:
    for url in ("/contract/", SHOP, *DOWNLOADS, "/contract/contract.css"):
        assert Client().post(url).status_code == 405
