"""The chat's pages, and its static files while DEBUG is on."""

from django.contrib.staticfiles.urls import staticfiles_urlpatterns
from django.urls import include, path

urlpatterns = [path("", include("example_project.chat.urls")), *staticfiles_urlpatterns()]
