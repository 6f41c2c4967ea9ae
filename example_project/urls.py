"""The pages of the chat, the orders and the assistant, the admin, the contract, and static files while DEBUG is on."""

from django.contrib import admin
from django.contrib.staticfiles.urls import staticfiles_urlpatterns
from django.urls import include, path

urlpatterns = [
    path("", include("example_project.chat.urls")),
    path("", include("example_project.orders.urls")),
    path("", include("example_project.assistant.urls")),
    path("admin/", admin.site.urls),
    path("contract/", include("django_etp.contract.urls")),
    *staticfiles_urlpatterns(),
]
