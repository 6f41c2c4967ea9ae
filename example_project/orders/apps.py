"""The orders as a Django app."""

from django.apps import AppConfig


class OrdersConfig(AppConfig):
    name = "example_project.orders"
