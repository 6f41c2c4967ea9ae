"""The chat as a Django app."""

from django.apps import AppConfig


class ChatConfig(AppConfig):
    name = "example_project.chat"
