"""Keep the tenants of a site apart, if each has a PostgreSQL schema of its own, as with django-tenants.

A tenant is an object with a ``schema_name``, or the name of the schema. ``None`` stands for no tenant, and the name
``""`` for the public schema.

Rules kept here:

- No package for tenants is imported. A database has tenants if the class of its connections has ``set_tenant``.
- In a site without such a database every function returns at once.
- A connection has the tenant of its scope. Its tasks have it in a context variable, and threads that work for them set
  the schema of their database connections before each call, and set the earlier one again after it.
- Elsewhere, as in a view or a task, the schema that the thread's database connection has at that moment counts.
- A user knows the schema that it was loaded from or saved to, since the loop of an async view has no schema.
- If all tenants share the users, a user is the same one in each of them.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, TypeVar

from django.apps import apps
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, router
from django.db.models import Model
from django.db.models.signals import post_init, post_save
from django.db.utils import load_backend

__all__ = [
    "all_schemas",
    "call",
    "call_in",
    "current_schema",
    "current_tenant",
    "has_tenants",
    "identity",
    "mark_users",
    "run_in",
    "schema_name",
    "schema_on",
    "set_current_tenant",
    "use_schema",
    "user_schema",
]

_T = TypeVar("_T")

# The attribute of a user that holds the name of the schema that it was loaded from.
_MARK = "_etp_schema"

_current: ContextVar[Any] = ContextVar("django_etp_tenant", default=None)


class _Thread(threading.local):
    """Whether the library has set the schema of this thread's database connections."""

    is_set = False


_thread = _Thread()


@lru_cache(maxsize=1)
def _databases() -> tuple[str, ...]:
    """Return the aliases of the databases that have tenants."""
    return tuple(alias for alias in connections if _can_set_tenant(connections.settings[alias]["ENGINE"]))


def _can_set_tenant(engine: str) -> bool:
    try:
        return hasattr(load_backend(engine).DatabaseWrapper, "set_tenant")
    except (ImproperlyConfigured, ImportError):  # the driver is missing: Django reports that when the database is used
        return False


@lru_cache(maxsize=1)
def _users_database() -> str | None:
    """Return the alias of the users' database if it has tenants."""
    if not _databases():
        return None
    alias = router.db_for_write(get_user_model())
    return alias if alias in _databases() else None


@lru_cache(maxsize=1)
def _has_users_per_tenant() -> bool:
    """Return whether each tenant has users of its own. Their primary keys are then not unique in the site."""
    if _users_database() is None:
        return False
    app = apps.get_app_config(get_user_model()._meta.app_label)
    types = getattr(settings, "TENANT_TYPES", {})
    listed = [*getattr(settings, "TENANT_APPS", ())]
    listed += [name for kind, each in types.items() if kind != _public() for name in each.get("APPS", ())]
    return not listed or app.name in listed or f"{type(app).__module__}.{type(app).__qualname__}" in listed


def _public() -> str:
    return str(getattr(settings, "PUBLIC_SCHEMA_NAME", "public"))


def has_tenants() -> bool:
    """Return whether a database of the site has tenants."""
    return bool(_databases())


def schema_name(tenant: object) -> str:
    """Return the name of a tenant's schema; ``""`` for the public one, and for no tenant."""
    name = tenant if isinstance(tenant, str) else getattr(tenant, "schema_name", None)
    return name if isinstance(name, str) and name != _public() else ""


# Running code


def set_current_tenant(tenant: object) -> None:
    """Let the rest of this task, and the tasks that it starts, run for a tenant, or for none (``None``)."""
    _current.set(tenant)


def current_tenant() -> object:
    """Return the tenant that this task runs for; ``None`` if it runs for none, or for no connection."""
    return _current.get()


def run_in(tenant: object, run: Callable[[Coroutine[Any, Any, _T]], asyncio.Task[_T]]) -> Callable[..., Any]:
    """Return a function that starts tasks as ``run`` does, for a tenant."""
    if tenant is None:
        return run

    def run_there(coroutine: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        token = _current.set(tenant)
        try:
            return run(coroutine)
        finally:
            _current.reset(token)

    return run_there


def call(function: Callable[..., _T], *args: Any) -> _T:
    """Call a plain function in the schema of the current tenant, in a thread that works for a task."""
    return call_in(_current.get(), function, *args) if _databases() else function(*args)


def call_in(tenant: object, function: Callable[..., _T], *args: Any) -> _T:
    """Call a plain function in the schema of a tenant; then set the schema that this thread had before.

    Without a tenant the schema stays. If the function sets another one, the earlier one is set again as well.
    """
    with _use(tenant):
        return function(*args)


@contextmanager
def use_schema(name: str) -> Iterator[None]:
    """Run the block, in this thread, in a schema; ``""`` leaves the one that is set."""
    with _use(name or None):
        yield


@contextmanager
def _use(tenant: object) -> Iterator[None]:
    used: list[Any] = [connections[alias] for alias in _databases()]
    before = [getattr(connection, "tenant", None) for connection in used]
    was_set, _thread.is_set = _thread.is_set, True
    try:
        for connection in used if tenant is not None else ():
            if isinstance(tenant, str):
                connection.set_schema(tenant)
            else:
                connection.set_tenant(tenant)
        yield
    finally:
        _thread.is_set = was_set
        for connection, earlier in zip(used, before, strict=True):
            if earlier is None:
                connection.set_schema_to_public()
            elif connection.tenant is not earlier:
                connection.set_tenant(earlier)


def current_schema() -> str:
    """Return the name of the schema that running code uses: of its thread, else of its connection's tenant."""
    alias = _users_database()
    if alias is None:
        return ""
    tenant = _current.get()
    if tenant is not None and _runs_event_loop():
        # A database connection of the loop may be shared by tasks, and another task may have set its schema.
        return schema_name(tenant)
    schema = schema_on(alias)
    # A thread of other code that works for a handler has set nothing.
    return schema_name(tenant) if not schema and not _thread.is_set else schema


def _runs_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def schema_on(alias: str) -> str:
    """Return the name of the schema that this thread uses in a database."""
    return schema_name(connections[alias]) if alias in _databases() else ""


def all_schemas() -> list[str]:
    """Return the names of the schemas to look into: the one that is set, or all if that is the public one.

    The public schema stands for a site without tenants, too. This queries the database.
    """
    for alias in _databases():
        if schema := schema_on(alias):  # as under the command all_tenants_command
            return [schema]
    names: list[str] = []
    if _databases():
        model: str = getattr(settings, "TENANT_MODEL")  # noqa: B009  (django-stubs knows Django's own settings only)
        tenants = apps.get_model(model)._base_manager.values_list("schema_name", flat=True)
        names = sorted(filter(None, map(schema_name, tenants)))
    return ["", *names]


# Users


def mark_users(models: Iterable[type[Model]]) -> None:
    """Let users, of these models, know the schema that they are loaded from or saved to."""
    if _has_users_per_tenant():
        for model in models:
            post_init.connect(_mark_loaded, sender=model, dispatch_uid="django_etp.user_loaded")
            post_save.connect(_mark_saved, sender=model, dispatch_uid="django_etp.user_marked")


def _mark_loaded(*, instance: Any, **kwargs: Any) -> None:
    # Queries run in threads, so a user that is made on an event loop comes from no schema yet.
    alias = _users_database()
    if alias is not None and not _runs_event_loop():
        setattr(instance, _MARK, schema_on(alias))


def _mark_saved(*, instance: Any, using: str, **kwargs: Any) -> None:
    setattr(instance, _MARK, schema_on(using))


def user_schema(user: object) -> str | None:
    """Return the name of the schema that a user was loaded from; ``None`` if that is unknown."""
    return getattr(user, _MARK, None) if _databases() else None


def identity(user: object, key: Any, schema: str | None = None) -> Any:
    """Return a name of a user that no other user of the site has, made of the user's primary key.

    Args:
        user: the user, which may know its schema; ``None`` if only the key is known.
        key: the primary key, which is the name in a site without users per tenant, and in the public schema.
        schema: the schema of a user who does not know it; the current one by default.
    """
    if not _has_users_per_tenant():
        return key
    known = user_schema(user)
    if known is not None:
        schema = known
    elif schema is None:
        schema = current_schema()
    # With the length no other pair of schema and key has the same name.
    return f"{len(schema)}:{schema}:{key}" if schema else key
