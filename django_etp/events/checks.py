"""System checks of the handlers: the project has some, and each module that should register them does."""

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from importlib import import_module
from importlib.util import find_spec
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

from django.apps import apps
from django.apps.config import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Warning

from django_etp.conf import find_problems, get_settings
from django_etp.schemas.outgoing import Outgoing

from .namespaces import Namespace
from .registry import registry
from .signatures import unwrapped

__all__ = ["check_handlers"]


def check_handlers(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Report a project without handlers, a name in ``EVENT_MODULES`` that fits no module, and modules without one."""
    if find_problems(getattr(settings, "ETP", {})):
        return []  # check_settings() reports these
    found: list[CheckMessage] = []
    for name in get_settings().event_modules:
        modules = list(_modules(name))
        if not modules and "EVENT_MODULES" in getattr(settings, "ETP", {}):
            found.append(_unmatched(name))
        found += [
            _without_handlers(config, module)
            for config, module in modules
            if _is_meant(name, module) and not _declares(config, module)
        ]
    return found if found or any(_homes()) else [_nothing_registered()]


def _nothing_registered() -> Warning:
    names = " or ".join(map(repr, get_settings().event_modules)) or "none, since EVENT_MODULES is empty"
    return Warning(
        f"The project has no event handlers: no installed app registers a handler, a hook or a declared room. Modules "
        f"looked for: {names}.",
        hint=f'Write @etp_event("hello") in such a module of an app in INSTALLED_APPS.{_near_names()}',
        id="django_etp.W301",
    )


def _unmatched(name: str) -> Warning:
    return Warning(
        f"ETP['EVENT_MODULES'] names {name!r}, but no installed app has a module of that name.",
        hint=f"Correct the name, or add the app to INSTALLED_APPS.{_near_names(name)}",
        id="django_etp.W302",
    )


def _without_handlers(config: AppConfig, module: ModuleType) -> Warning:
    return Warning(
        f"The app {config.label!r} has the module {module.__name__}, which registers nothing: no handler, no hook and "
        "no declared room.",
        hint="Decorate its functions with @etp_event, or import the module that does. If the module is for something "
        "else, take its name out of ETP['EVENT_MODULES'].",
        id="django_etp.W303",
        obj=config,
    )


def _modules(name: str) -> Iterator[tuple[AppConfig, ModuleType]]:
    """Yield the apps that have a module of that name, with the module, which is imported already."""
    for config in apps.get_app_configs():
        if config.name.partition(".")[0] == "django_etp":
            continue
        path = f"{config.name}.{name}"
        try:
            exists = find_spec(path) is not None
        except ModuleNotFoundError:  # of "handlers.etp", if the app has no package "handlers"
            exists = False
        if exists:
            yield config, import_module(path)


def _is_meant(name: str, module: ModuleType) -> bool:
    """Whether the module is there to register handlers; other packages may have one of the same name."""
    homes = {getattr(value, "__module__", getattr(value, "__name__", "")) for value in vars(module).values()}
    return name == "etp_events" or any(str(home).partition(".")[0] == "django_etp" for home in homes)


def _declares(config: AppConfig, module: ModuleType) -> bool:
    """Whether the app registers anything, or the module declares events that the server sends."""
    values = vars(module).values()
    if "model_events" in vars(module) or any(isinstance(value, Outgoing) for value in values):
        return True
    package = config.name + "."
    return any(f"{home}.".startswith(package) for home in _homes())


def _homes() -> Iterator[str]:
    """Yield the names of the modules of all registered functions."""
    for name in registry.names:
        for function in _functions(registry.namespace(name)):
            plain = unwrapped(function)
            yield getattr(plain, "__module__", None) or type(plain).__module__


def _functions(namespace: Namespace) -> Iterator[Any]:
    hooks = (namespace.on_connect, namespace.on_disconnect, namespace.on_error, namespace.on_unknown_event)
    for handler in namespace.events.values():
        yield handler.function
    for kind in hooks:
        for handler in kind:
            yield handler.function
    for room in namespace.rooms:
        yield room.join_handler.function


def _near_names(name: str | None = None) -> str:
    """Return a sentence for modules of installed apps whose names nearly fit, or no text."""
    wanted = [name] if name else list(get_settings().event_modules)
    near = [
        f"{config.name}.{module.name}"
        for config in apps.get_app_configs()
        for module in iter_modules([config.path])
        if get_close_matches(module.name, wanted, cutoff=0.85)
    ]
    return f" Did you mean {' or '.join(near)}?" if near else ""
