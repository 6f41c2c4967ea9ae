"""The URLs of the package: ``live/`` and ``ready/``, for health checks."""

from django.urls import path

from .health.views import live, ready

__all__ = ["app_name", "urlpatterns"]

app_name = "django_etp"

urlpatterns = [
    path("live/", live, name="live"),
    path("ready/", ready, name="ready"),
]
