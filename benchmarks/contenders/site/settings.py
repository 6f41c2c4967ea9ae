"""Settings of the measured Django applications; the layer and the database come from the environment."""

import json
import os

SECRET_KEY = "benchmarks"
DEBUG = False
USE_TZ = True
ALLOWED_HOSTS = ["127.0.0.1"]
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "channels",
    "django_etp",
    "benchmarks.contenders.site",
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("BENCHMARK_DATABASE", ":memory:"),
        "OPTIONS": {"init_command": "PRAGMA journal_mode=WAL", "transaction_mode": "IMMEDIATE"},
    }
}
if "BENCHMARK_OUTBOX" in os.environ:  # a database with durable events
    INSTALLED_APPS.append("django_etp.outbox")
    DATABASES["default"] = json.loads(os.environ["BENCHMARK_OUTBOX"])
ETP: dict[str, object] = {}
if "BENCHMARK_HISTORY" in os.environ:
    ETP["HISTORY"] = json.loads(os.environ["BENCHMARK_HISTORY"])
if "BENCHMARK_HISTORY_DATABASE" in os.environ:
    INSTALLED_APPS.append("django_etp.history")
    DATABASES["default"] = json.loads(os.environ["BENCHMARK_HISTORY_DATABASE"])
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
CHANNEL_LAYERS = {
    "default": json.loads(
        os.environ.get("BENCHMARK_LAYER", '{"BACKEND": "channels.layers.InMemoryChannelLayer"}'),
    )
}
# The broker, for handlers that use it without a layer.
BROKER_URL = os.environ.get("BENCHMARK_BROKER", "")
