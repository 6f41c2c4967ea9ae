"""Settings of the site under test; `SITE_SETTINGS`, a JSON object in the environment, overrides any of them."""

import json
import os

SECRET_KEY = "site"
DEBUG = False
USE_TZ = True
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "tests.site.urls"
ASGI_APPLICATION = "tests.site.asgi.application"
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "channels",
    "django_etp",
    "tests.site",
]
MIDDLEWARE: list[str] = []
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
ETP: dict[str, object] = {}
SILENCED_SYSTEM_CHECKS = ["django_etp.W007"]  # each test has a broker of its own

globals().update(json.loads(os.environ.get("SITE_SETTINGS", "{}")))

# The handlers of misbehaving.py, cluster.py, visits.py and failing.py have namespaces of their own.
ETP = {"EVENT_MODULES": ["etp_events", "misbehaving", "cluster", "visits", "failing"], **ETP}
