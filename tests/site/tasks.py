"""A task of Django's own framework, which came with Django 6.0."""

from typing import Any

from django.tasks import task

from tests.site.exercise import exercise_all


@task
def exercise(**names: str) -> dict[str, Any]:
    return exercise_all(**names)
