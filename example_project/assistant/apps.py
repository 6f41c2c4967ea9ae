"""The assistant as a Django app."""

from django.apps import AppConfig


class AssistantConfig(AppConfig):
    name = "example_project.assistant"
