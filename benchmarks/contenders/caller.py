"""Send to a room from a process without an event loop; read numbers of calls and threads, and print seconds.

``python -m benchmarks.contenders.caller emit|group_send|publish``
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


def publish() -> Callable[[str], object]:
    """Return the smallest call that reaches the broker."""
    from redis import Redis

    broker = Redis.from_url(settings.BROKER_URL)
    return lambda text: broker.publish("room", text)


def main(kind: str) -> None:
    """Run the requests from standard input until it ends."""
    django.setup()
    call = {"emit": emit, "group_send": group_send, "publish": publish}[kind]()
    for line in sys.stdin:
        calls, threads = map(int, line.split())
        print(_run(call, calls, threads), flush=True)


def _run(call: Callable[[str], object], calls: int, threads: int) -> float:
    def send(thread: int) -> None:
        for number in range(calls // threads):
            call(f"#{number:08}{thread:023}")

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
