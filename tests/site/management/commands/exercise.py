import json
import time
from typing import Any

from django.core.management.base import BaseCommand

from tests.site.exercise import exercise_all


class Command(BaseCommand):
    help = "Do the exercise for the names given, a JSON object each; print the outcomes, and when it was done."

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("names", nargs="+", type=json.loads)

    def handle(self, *_: Any, names: list[dict[str, str]], **__: Any) -> None:
        outcomes = [exercise_all(**each) for each in names]
        self.stdout.write(json.dumps([outcomes, time.monotonic()]))
