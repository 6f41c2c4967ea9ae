"""The URL of the assistant's page."""

from django.urls import path

from . import views

urlpatterns = [path("assistant/", views.assistant, name="assistant")]
