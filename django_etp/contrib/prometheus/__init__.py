"""Prometheus metrics of the connections, events and rooms of each process: an app for ``INSTALLED_APPS``."""
