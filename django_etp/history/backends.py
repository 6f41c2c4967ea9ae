"""The store of histories that the settings name."""

from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from django_etp.conf import get_settings
from django_etp.exceptions import describe

from .store import Store

__all__ = ["open_store", "store_class"]

_DEFAULT = "django_etp.history.MemoryHistory"


def store_class() -> Any:
    """Return the class of the store that the settings name.

    Raises:
        ImproperlyConfigured: it cannot be imported.
    """
    name = get_settings().history.get("BACKEND", _DEFAULT)
    try:
        return import_string(name)
    except (ImportError, ValueError, RuntimeError) as error:
        # A RuntimeError is that of a model whose app is not installed.
        raise ImproperlyConfigured(
            f"ETP['HISTORY'] names the BACKEND {name!r}, which cannot be imported: {describe(error)}. RedisHistory "
            "needs django-etp[redis], and DatabaseHistory the app 'django_etp.history' in INSTALLED_APPS."
        ) from error


def open_store() -> Store:
    """Return a store for the histories of this process. It connects when it is used first.

    Raises:
        ImproperlyConfigured: the settings are not valid.
    """
    kind, options = store_class(), get_settings().history.get("OPTIONS", {})
    try:
        store: Store = kind(**options)
    except (TypeError, ValueError) as error:
        raise ImproperlyConfigured(
            f"ETP['HISTORY'] has OPTIONS that {kind.__qualname__} does not take: {describe(error)}."
        ) from error
    return store
