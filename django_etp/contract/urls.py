"""The URLs of the contract: a page for each namespace, and what it downloads."""

from django.urls import path

from . import views

__all__ = ["app_name", "urlpatterns"]

app_name = "etp_contract"

urlpatterns = [
    path("", views.index, name="index"),
    path("contract.css", views.style, name="style"),
    path("contract.js", views.script, name="script"),
    # A namespace may have any name.
    path("<path:namespace>/asyncapi.json", views.document, name="document"),
    path("<path:namespace>/asyncapi.yaml", views.yaml_document, name="yaml_document"),
    path("<path:namespace>/contract.d.ts", views.types, name="types"),
    path("<path:namespace>/", views.contract, name="contract"),
]
