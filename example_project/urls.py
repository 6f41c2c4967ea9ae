"""The pages of the chat and of the orders, the admin, the contract, and the static files while DEBUG is on."""

from django.contrib import admin
from django.contrib.staticfiles.urls import staticfiles_urlpatterns
from django.urls import include, path

urlpatterns = [
    path("", include("example_project.chat.urls")),
    path("", include("example_project.orders.urls")),
    path("admin/", admin.site.urls),
    path("contract/", include("django_etp.contract.urls")),
    *staticfiles_urlpatterns(),
]
