"""A plugin of pytest for the projects of the docs: their tests leave no rows behind. It is copied into each project."""

from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(scope="session", autouse=True)
def no_rows_are_left(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    from django.apps import apps

    yield
    with django_db_blocker.unblock():
        left = {model.__name__ for model in apps.get_models() if model.objects.exists()}
    assert left <= {"ContentType", "Permission"}, f"The tests of this page left rows of {left} behind"
