"""Send to a room from a process without an event loop; read numbers of calls and threads, and print seconds.

``python -m benchmarks.contenders.caller emit|group_send|publish|…``, one of the functions below.

``durable`` reads numbers of events, threads, and events in a transaction; ``durable_latency`` reads a number of events,
and prints when each of them was committed, as JSON.
"""

import os
import sys
import threading
import time
from collections.abc import Callable

import django
from django.conf import settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.contenders.site.settings")


def emit() -> Callable[[str], object]:
    """Return the call of django_etp."""
    from django_etp import rooms

    return lambda text: rooms.emit("room", "news", text)


def group_send() -> Callable[[str], object]:
    """Return the call that Channels' documentation shows."""
    from asgiref.sync import async_to_sync
    from channels.layers import get_channel_layer

    layer = get_channel_layer()
    return lambda text: async_to_sync(layer.group_send)("room", {"type": "news", "text": text})


def emit_on_commit() -> Callable[[str], object]:
    """Return a transaction with an event of django_etp."""
    from django.db.transaction import atomic

    from django_etp import rooms

    def call(text: str) -> None:
        with atomic():
            rooms.emit_on_commit("room", "news", text)

    return call


def group_send_on_commit() -> Callable[[str], object]:
    """Return a transaction with the call of Channels' documentation in a callback."""
    from django.db.transaction import atomic, on_commit

    send = group_send()

    def call(text: str) -> None:
        with atomic():
            on_commit(lambda: send(text))

    return call


def keyed_updates() -> Callable[[str], object]:
    """Return a transaction of 500 updates, each with an event that takes the place of the one before it."""
    from django_etp import rooms

    return _updates(lambda text: rooms.emit_on_commit("room", "news", text, key=1), lambda text: None)


def updates() -> Callable[[str], object]:
    """Return the same transaction with one event after it."""
    return _updates(lambda text: None, emit())


def _updates(during: Callable[[str], object], afterwards: Callable[[str], object]) -> Callable[[str], object]:
    from django.db import connection
    from django.db.transaction import atomic

    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE numbers AS SELECT 0 AS number")

    def call(text: str) -> None:
        with atomic(), connection.cursor() as cursor:
            for number in range(500):
                cursor.execute("UPDATE numbers SET number = %s", [number])
                during(text)
        afterwards(text)

    return call


def publish() -> Callable[[str], object]:
    """Return the smallest call that reaches the broker."""
    from redis import Redis

    broker = Redis.from_url(settings.BROKER_URL)
    return lambda text: broker.publish("room", text)


def store(number: int) -> None:
    """Store a durable event in the current transaction."""
    from django_etp.outbox.storing import store

    text = f"#{number:08}{0:023}"
    store("default", ("room",), "news", text, exclude=(), key=None, using="default")


def commit(events: int, threads: int, each: int) -> float:
    """Commit events in transactions of so many; return the seconds."""
    from django.db import transaction

    def send(thread: int) -> None:
        for first in range(0, events // threads, each):
            with transaction.atomic():
                for number in range(first, min(first + each, events // threads)):
                    store(number)

    return _timed(send, threads)


def commit_times(events: int) -> list[float]:
    """Commit events one by one, with pauses; return the times on the monotonic clock."""
    from django.db import transaction

    times = []
    for number in range(events):
        with transaction.atomic():
            store(number)
        times.append(time.monotonic())
        time.sleep(0.01)
    return times


def main(kind: str) -> None:
    """Run the requests from standard input until it ends."""
    django.setup()
    if kind.startswith("durable"):
        for line in sys.stdin:
            print(commit(*map(int, line.split())) if kind == "durable" else commit_times(int(line)), flush=True)
        return
    calls_of = [emit, group_send, emit_on_commit, group_send_on_commit, keyed_updates, updates, publish]
    call = {each.__name__: each for each in calls_of}[kind]()
    for line in sys.stdin:
        calls, threads = map(int, line.split())
        print(_run(call, calls, threads), flush=True)


def _run(call: Callable[[str], object], calls: int, threads: int) -> float:
    def send(thread: int) -> None:
        for number in range(calls // threads):
            call(f"#{number:08}{thread:023}")

    return _timed(send, threads)


def _timed(send: Callable[[int], None], threads: int) -> float:
    """Return how many seconds threads take to send."""
    others = [threading.Thread(target=send, args=[thread]) for thread in range(1, threads)]
    start = time.perf_counter()
    for thread in others:
        thread.start()
    send(0)
    for thread in others:
        thread.join()
    return time.perf_counter() - start


if __name__ == "__main__":
    main(sys.argv[1])
