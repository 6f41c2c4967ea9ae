"""Settings of the reference server; `REFERENCE_SETTINGS`, a JSON object in the environment, overrides any of them."""

import json
import os

SECRET_KEY = "reference"
DEBUG = False
USE_TZ = True
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "tests.reference.urls"
ASGI_APPLICATION = "tests.reference.asgi.application"
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "channels",
    "django_etp",
    "tests.reference",
]
MIDDLEWARE: list[str] = []
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
ETP: dict[str, object] = {}

globals().update(json.loads(os.environ.get("REFERENCE_SETTINGS", "{}")))

# The handlers of misbehaving.py, cluster.py, visits.py and failing.py have namespaces of their own.
ETP = {"EVENT_MODULES": ["etp_events", "misbehaving", "cluster", "visits", "failing"], **ETP}
