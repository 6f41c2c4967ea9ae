"""A process that stores durable events: `python -m tests.site.durable ROOMS SENDER COUNT [EACH] [PAUSE]`.

It stores "burst" events, `SENDER:0`, `SENDER:1` and so on, EACH of them in a transaction, in turn to each of the ROOMS,
which are divided by commas. After each commit it prints the last number, and waits for so many seconds.
"""

import os
import sys
import time

import django

from tests.site.stream import say


def main(rooms: str, sender: str, count: str, each: str = "1", pause: str = "0") -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.site.settings")
    django.setup()

    from django.db import transaction

    from django_etp.outbox.storing import store
    from tests.site.exercise import NAMESPACE

    names = rooms.split(",")
    for first in range(0, int(count), int(each)):
        with transaction.atomic():
            for number in range(first, min(first + int(each), int(count))):
                room = names[number % len(names)]
                store(NAMESPACE, (room,), "burst", f"{sender}:{number}", exclude=(), key=None, using="default")
        say(number)
        time.sleep(float(pause))


if __name__ == "__main__":
    main(*sys.argv[1:])
