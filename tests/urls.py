"""No page of its own: tests override ROOT_URLCONF where they need views."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
