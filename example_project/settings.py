"""Settings of the example chat, for your own machine only: SQLite, and one process unless a broker is configured."""

import os
from importlib.util import find_spec
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent

DEBUG = True
SECRET_KEY = os.environ.get("SECRET_KEY", "an-example-that-runs-on-your-own-machine-needs-no-secret")
# To try it from a phone in the same network: ALLOWED_HOSTS=192.168.0.7 and daphne --bind 0.0.0.0.
ALLOWED_HOSTS = ["localhost", "127.0.0.1", *filter(None, os.environ.get("ALLOWED_HOSTS", "").split(","))]

INSTALLED_APPS = [
    "daphne",  # first, so that runserver serves WebSockets
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "django_etp",
    "django_etp.history",
    "django_etp.outbox",
    "example_project.assistant",
    "example_project.chat",
    "example_project.orders",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "example_project.urls"
ASGI_APPLICATION = "example_project.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

# The address of a Valkey or Redis server, such as redis://127.0.0.1:6379/0. With it, the chat spans processes and a
# Celery worker sends the announcements. `make demo-cluster` starts all of these.
BROKER = os.environ.get("ETP_DEMO_BROKER", "")

CHANNEL_LAYERS: dict[str, object] = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
if BROKER:
    CHANNEL_LAYERS["default"] = {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [{"address": BROKER, "socket_timeout": 7, "socket_connect_timeout": 2}]},
    }
ETP: dict[str, object] = {
    "SITE": "etp-example",  # other projects may use the same broker: the name keeps them apart
    # What was said in the rooms outlives a restart of the server and of the broker, which stores nothing on disk.
    "HISTORY": {"BACKEND": "django_etp.history.DatabaseHistory"},
}

CELERY_BROKER_URL = BROKER
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_IGNORE_RESULT = True

if BROKER:  # `make demo-cluster` has all of it switched on
    ETP["DRAIN_SECONDS"] = 2
    ETP["MIDDLEWARE"] = ["example_project.audit.audit"]
    ETP["RATE"] = "30/s"  # of each connection
    if find_spec("prometheus_client"):
        INSTALLED_APPS.append("django_etp.contrib.prometheus")

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("DATABASE_FILE", BASE_DIR / "example.sqlite3"),
        # Handlers write from many threads. With these options readers continue meanwhile, and writers wait instead of
        # failing.
        "OPTIONS": {
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
        },
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "login"

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "loggers": {"example_project": {"handlers": ["console"], "level": "INFO", "propagate": False}},
}

STATIC_URL = "static/"
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
