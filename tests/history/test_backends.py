"""The store that the settings name."""

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from django_etp.history import DatabaseHistory, MemoryHistory, RedisHistory
from django_etp.history.backends import open_store


def test_without_a_setting_it_is_in_memory() -> None:
    assert isinstance(open_store(), MemoryHistory)


@pytest.mark.parametrize(
    ("backend", "options", "kind"),
    [
        ("django_etp.history.MemoryHistory", None, MemoryHistory),
        ("django_etp.history.RedisHistory", {"url": "redis://127.0.0.1:6379/1"}, RedisHistory),
        ("django_etp.history.DatabaseHistory", None, DatabaseHistory),
        ("django_etp.history.DatabaseHistory", {"using": "default"}, DatabaseHistory),
    ],
)
def test_each_store_can_be_named(settings: Any, backend: str, options: Any, kind: type) -> None:
    settings.ETP = {"HISTORY": {"BACKEND": backend} | ({} if options is None else {"OPTIONS": options})}
    assert isinstance(open_store(), kind)


@pytest.mark.parametrize(
    ("history", "problem"),
    [
        ({"BACKEND": "django_etp.history.Other"}, "'django_etp.history.Other', which cannot be imported"),
        ({"BACKEND": "nonsense"}, "'nonsense', which cannot be imported"),
        ({"OPTIONS": {"url": "redis://x"}}, "OPTIONS that MemoryHistory does not take"),
        ({"BACKEND": "django_etp.history.RedisHistory"}, "OPTIONS that RedisHistory does not take"),
        ({"BACKEND": "django_etp.history.RedisHistory", "OPTIONS": {"url": "x"}}, "OPTIONS that RedisHistory"),
    ],
)
def test_a_store_that_cannot_be_made_is_reported(settings: Any, history: Any, problem: str) -> None:
    settings.ETP = {"HISTORY": history}
    with pytest.raises(ImproperlyConfigured, match=problem):
        open_store()
