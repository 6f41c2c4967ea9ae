"""A Celery app that uses the broker of the channel layer."""

import os
from typing import Any

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.site.settings")

from django.conf import settings

_broker = settings.CHANNEL_LAYERS["default"]["CONFIG"]["hosts"][0]["address"]

app = Celery("site", broker=_broker, backend=_broker)
app.conf.worker_prefetch_multiplier = 1


@app.task
def exercise(**names: str) -> dict[str, Any]:
    from tests.site.exercise import exercise_all

    return {"worker": os.getpid(), **exercise_all(**names)}


@app.task
def announce(room: str) -> None:
    from django_etp import rooms
    from tests.site.exercise import NAMESPACE

    rooms.of(NAMESPACE).emit(room, "news")
