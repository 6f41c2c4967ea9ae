"""A plain script that emits until its stdin ends: `python -m tests.site.stream ROOM SENDER [THREADS] [PAUSE]`.

Each thread emits "burst" events to the room, `SENDER0:0`, `SENDER0:1` and so on, with a pause of so many seconds
between them. Prints a JSON list for each emit that raised LayerUnavailable: its event and the seconds that it took; at
the end an object: the number that each thread sent.
"""

import json
import os
import sys
import threading
import time

import django


def main(room: str, sender: str, threads: str = "1", pause: str = "0") -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.site.settings")
    django.setup()

    from django_etp import LayerUnavailable, rooms
    from tests.site.exercise import NAMESPACE

    api = rooms.of(NAMESPACE)
    is_over = threading.Event()
    sent: dict[str, int] = {}

    def stream(name: str) -> None:
        number = 0
        while not is_over.wait(float(pause)):
            began_at = time.monotonic()
            try:
                api.emit(room, "burst", f"{name}:{number}")
            except LayerUnavailable:
                say([f"{name}:{number}", time.monotonic() - began_at])
            number += 1
        sent[name] = number

    workers = [threading.Thread(target=stream, args=(f"{sender}{index}",)) for index in range(int(threads))]
    for worker in workers:
        worker.start()
    sys.stdin.read()
    is_over.set()
    for worker in workers:
        worker.join()
    say(sent)


def say(value: object) -> None:
    """Print a line of JSON in one write: print() makes two, and lines of other threads could come between."""
    sys.stdout.write(f"{json.dumps(value)}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
