"""Race a write against the end of a session: `python -m tests.site.race_sessions ROUNDS`.

In each round two threads patch and end a new session at the same time. It ends by a flush, a logout or its expiry. The
script prints as JSON how many sessions were restored by the write, and how often each side was first.
"""

import json
import os
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from importlib import import_module
from typing import Any
from uuid import uuid4

import django


def main(rounds: str) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.site.settings")
    django.setup()

    from django.conf import settings
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model, logout
    from django.contrib.sessions.models import Session
    from django.http import HttpRequest
    from django.utils import timezone

    from django_etp.sessions.storage import patch_session

    store_class = import_module(settings.SESSION_ENGINE).SessionStore
    user = get_user_model().objects.create(username=uuid4().hex)
    logged_in = {
        SESSION_KEY: str(user.pk),
        BACKEND_SESSION_KEY: "django.contrib.auth.backends.ModelBackend",
        HASH_SESSION_KEY: user.get_session_auth_hash(),
    }
    barrier = threading.Barrier(2)

    def living() -> int:
        return Session.objects.filter(expire_date__gt=timezone.now()).count()

    def request_with(session: Any) -> HttpRequest:
        request = HttpRequest()
        request.session = session
        request.user = user
        return request

    def write(key: str) -> bool:
        barrier.wait()
        return patch_session(key, lambda content: content.update({"etp": {"a": {"seat": 1}}}))

    def end(key: str, how: str) -> None:
        store = store_class(key)
        store.load()
        barrier.wait()
        if how == "flush":
            store.flush()
        elif how == "logout":
            logout(request_with(store))
        else:
            Session.objects.filter(session_key=key).update(expire_date=timezone.now() - timedelta(seconds=1))
            if cache := getattr(store, "_cache", None):
                cache.delete(store.cache_key)

    before = living()
    outcomes: Counter[str] = Counter()
    with ThreadPoolExecutor(2) as threads:
        for number in range(int(rounds)):
            store = store_class()
            store.update({"cart": [number], **logged_in})
            store.create()
            key = store.session_key
            writing = threads.submit(write, key)
            ending = threads.submit(end, key, ("flush", "logout", "expire")[number % 3])
            ending.result()
            outcomes["written first" if writing.result() else "ended first"] += 1
            if patch_session(key, lambda content: content.update({"etp": {"late": {}}})):
                outcomes["written after the end"] += 1
            if store_class(key).load():
                outcomes["brought back"] += 1
    outcomes["left"] = living() - before
    print(json.dumps(outcomes))


if __name__ == "__main__":
    main(*sys.argv[1:])
