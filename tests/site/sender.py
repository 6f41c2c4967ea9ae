"""Run the exercise in a kind of process: `python -m tests.site.sender PLACE`, with JSON objects on stdin.

Each line has the names for one exercise. Prints the outcomes as a JSON list, and the time when it was done.
"""

import asyncio
import json
import multiprocessing
import os
import sys
import threading
import time
from typing import Any

import django

Names = dict[str, str]


def script(*all_names: Names) -> list[Any]:
    from tests.site.exercise import exercise_all

    return [exercise_all(**names) for names in all_names]


def loop(*all_names: Names) -> list[Any]:
    from tests.site.exercise import aexercise_all

    async def main() -> list[Any]:
        # In development mode asyncio complains of steps that take 0.1 s, as they do on a busy machine.
        asyncio.get_running_loop().slow_callback_duration = 60
        return [await aexercise_all(**names) for names in all_names]

    return asyncio.run(main())


def thread(*all_names: Names) -> list[Any]:
    outcomes: list[Any] = []
    worker = threading.Thread(target=lambda: outcomes.extend(script(*all_names)))
    worker.start()
    worker.join()
    return outcomes


def fork(childs: Names, own: Names) -> list[Any]:
    """Start, fork, continue while the child runs the exercise, then run it here."""
    from django_etp import rooms
    from tests.site.exercise import NAMESPACE

    rooms.of(NAMESPACE).emit("nobody", "begin")
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=lambda: sender.send(script(childs)))
    child.start()
    while not receiver.poll():
        rooms.of(NAMESPACE).emit("nobody", "meanwhile")
    outcomes = receiver.recv()
    child.join(30)
    if child.exitcode != 0:
        sys.exit(f"the child ended with {child.exitcode}")
    return [*outcomes, *script(own)]


def celery(*all_names: Names) -> list[Any]:
    """Run all exercises in the worker at the same time."""
    from tests.site.celery_app import exercise

    with exercise.app:
        results = [exercise.delay(**names) for names in all_names]
        return [result.get(timeout=100) for result in results]


def tasks(*all_names: Names) -> list[Any]:
    """Run the exercises as Django tasks, which run at once in this process by default."""
    from tests.site.tasks import exercise

    return [exercise.enqueue(**names).return_value for names in all_names]


PLACES = {place.__name__: place for place in (script, loop, thread, fork, celery, tasks)}


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.site.settings")
    django.setup()
    outcomes = PLACES[sys.argv[1]](*(json.loads(line) for line in sys.stdin))
    print(json.dumps([outcomes, time.monotonic()]))


if __name__ == "__main__":
    main()
