"""The URLs of the contract."""

from urllib.parse import unquote

import pytest
from django.urls import include, path, resolve, reverse

urlpatterns = [path("contract/", include("django_etp.contract.urls"))]

pytestmark = pytest.mark.urls(__name__)


def test_the_views_have_names() -> None:
    assert reverse("etp_contract:index") == "/contract/"
    assert reverse("etp_contract:contract", args=["shop"]) == "/contract/shop/"


@pytest.mark.parametrize("namespace", ["shop", "a/b", "a b", "contract.css", "a/contract.d.ts/b", "<b>?#%"])
@pytest.mark.parametrize("name", ["contract", "document", "yaml_document", "types"])
def test_a_namespace_may_have_any_name(name: str, namespace: str) -> None:
    match = resolve(unquote(reverse(f"etp_contract:{name}", args=[namespace])))
    assert (match.url_name, match.kwargs) == (name, {"namespace": namespace})
