"""A plain script: `python -m tests.site.send ROOM SENDER COUNT [THREADS]` emits to a room of the cluster tests."""

import os
import sys
import threading

import django


def main(room: str, sender: str, count: str, threads: str = "1") -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.site.settings")
    django.setup()

    from django_etp import rooms

    def send(name: str) -> None:
        for number in range(int(count)):
            rooms.of("cluster").emit(room, "burst", f"{name}:{number}")

    if threads == "1":
        send(sender)
        return
    workers = [threading.Thread(target=send, args=(f"{sender}{index}",)) for index in range(int(threads))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
