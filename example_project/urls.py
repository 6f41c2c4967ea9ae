"""The pages of the apps, the admin, the contract, health checks, and metrics and static files if switched on."""

from django.conf import settings
from django.contrib import admin
from django.contrib.staticfiles.urls import staticfiles_urlpatterns
from django.urls import include, path

urlpatterns = [
    path("", include("example_project.chat.urls")),
    path("", include("example_project.orders.urls")),
    path("", include("example_project.assistant.urls")),
    path("admin/", admin.site.urls),
    path("contract/", include("django_etp.contract.urls")),
    path("health/", include("django_etp.urls")),
    *staticfiles_urlpatterns(),
]
if "django_etp.contrib.prometheus" in settings.INSTALLED_APPS:
    from .metrics import metrics

    urlpatterns.append(path("metrics/", metrics))
