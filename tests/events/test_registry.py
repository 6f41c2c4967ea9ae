"""Handlers and hooks: the decorators, discovery in real app packages, namespaces, order."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from django_etp import (
    EventAlreadyRegistered,
    InvalidEventName,
    etp_event,
    etp_room,
    on_connect,
    on_disconnect,
    on_error,
    on_unknown_event,
)
from django_etp.consumers import EtpConsumer
from django_etp.events.registry import Namespace, Registry
from tests import settings as tests_settings

ROOT = Path(__file__).parents[2]

Install = Callable[..., Namespace]


@pytest.fixture
def install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Any, etp_registry: Registry
) -> Iterator[Install]:
    """Return a function that writes app packages, path by path, and installs them in a running Django."""
    packages: set[str] = set()

    def write_and_install(files: dict[str, str], *apps: str) -> Namespace:
        for path, text in files.items():
            file = tmp_path / path
            file.parent.mkdir(parents=True, exist_ok=True)
            for folder in [file.parent, *file.parent.parents]:
                if folder.is_relative_to(tmp_path) and folder != tmp_path:
                    (folder / "__init__.py").touch()
            file.write_text(dedent(text))
            packages.add(path.partition("/")[0])
        settings.INSTALLED_APPS = [*tests_settings.INSTALLED_APPS, *apps]
        return etp_registry.namespace("default")

    monkeypatch.syspath_prepend(tmp_path)
    try:
        yield write_and_install
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] in packages]:
            del sys.modules[name]


def names(handlers: Any) -> list[str]:
    return [handler.function.__name__ for handler in handlers]


# Discovery


def test_handlers_are_found_in_each_installed_app(install: Install) -> None:
    handlers = install(
        {
            "shop_one/etp_events.py": """
                from django_etp import etp_event

                @etp_event("buy")
                def buy(connection, event): ...
            """,
            "shop_two/etp_events.py": """
                from django_etp import etp_event, on_connect

                @etp_event("sell")
                async def sell(connection, event): ...

                @on_connect
                def welcome(connection): ...
            """,
        },
        "shop_one",
        "shop_two",
    )
    assert (handlers.events["buy"].is_async, handlers.events["sell"].is_async) == (False, True)
    assert names(handlers.on_connect) == ["welcome"]


def test_an_app_without_event_modules_is_fine(install: Install) -> None:
    assert install({"shop_plain/models.py": ""}, "shop_plain").events == {}


def test_an_app_with_a_config_of_its_own_is_found(install: Install) -> None:
    handlers = install(
        {
            "shop_config/apps.py": """
                from django.apps import AppConfig

                class ShopConfig(AppConfig):
                    name = "shop_config"
            """,
            "shop_config/etp_events.py": """
                from django_etp import etp_event

                @etp_event("buy")
                def buy(connection, event): ...
            """,
        },
        "shop_config.apps.ShopConfig",
    )
    assert "buy" in handlers.events


@pytest.mark.parametrize(
    ("text", "error", "match"),
    [
        ("import a_package_that_is_not_there", ModuleNotFoundError, "a_package_that_is_not_there"),
        ("from django_etp import no_such_decorator", ImportError, "no_such_decorator"),
        ("1 / 0", ZeroDivisionError, "division"),
        ("def (", SyntaxError, "invalid syntax"),
        ("import shop_broken.etp_events_helpers", ModuleNotFoundError, "etp_events_helpers"),
    ],
)
def test_an_error_inside_an_event_module_is_shown(
    install: Install, text: str, error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        install({"shop_broken/etp_events.py": text}, "shop_broken")


def test_an_error_inside_an_event_module_is_shown_when_django_starts(tmp_path: Path) -> None:
    (tmp_path / "shop_starts").mkdir()
    (tmp_path / "shop_starts/__init__.py").touch()
    (tmp_path / "shop_starts/etp_events.py").write_text("import a_package_that_is_not_there\n")
    (tmp_path / "shop_settings.py").write_text("from tests.settings import *\nINSTALLED_APPS += ['shop_starts']\n")
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "shop_settings",
        "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)]),
    }
    done = subprocess.run(
        [sys.executable, "-m", "django", "check"], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode != 0
    assert "No module named 'a_package_that_is_not_there'" in done.stderr
    assert str(tmp_path / "shop_starts/etp_events.py") in done.stderr


def test_the_modules_to_look_for_are_a_setting(install: Install, settings: Any) -> None:
    settings.ETP = {"EVENT_MODULES": ["realtime.handlers", "more_events"]}
    module = 'from django_etp import etp_event\n\n@etp_event("{}")\ndef handler(connection, event): ...\n'
    handlers = install(
        {
            "shop_modules/etp_events.py": module.format("default"),
            "shop_modules/more_events.py": module.format("more"),
            "shop_modules/realtime/handlers.py": module.format("nested"),
        },
        "shop_modules",
    )
    assert sorted(handlers.events) == ["more", "nested"]


def test_hooks_of_several_apps_run_in_app_order_however_they_were_imported(install: Install) -> None:
    hook = "from django_etp import on_connect\n\n@on_connect\ndef {}(connection): ...\n"
    handlers = install(
        {
            "shop_first/etp_events.py": "import shop_second.etp_events\n" + hook.format("first"),
            "shop_second/etp_events.py": hook.format("second") + hook.format("second_too"),
        },
        "shop_first",
        "shop_second",
    )
    assert names(handlers.on_connect) == ["first", "second", "second_too"]


def test_a_hook_that_is_a_partial_has_the_place_of_the_app_that_wrote_it(install: Install) -> None:
    hook = """
        from functools import partial

        from django_etp import on_connect

        def welcome(connection, app): ...

        on_connect(partial(welcome, app="{}"))
    """
    handlers = install(
        {
            "shop_first/etp_events.py": "import shop_second.etp_events\n" + dedent(hook.format("first")),
            "shop_second/etp_events.py": "from django_etp import on_connect\n\n@on_connect\ndef f(connection): ...\n",
        },
        "shop_first",
        "shop_second",
    )
    assert [handler.place.split(" ")[0] for handler in handlers.on_connect] == [
        "shop_first.etp_events.welcome",
        "shop_second.etp_events.f",
    ]


def test_a_hook_registered_before_django_knows_its_apps_has_the_place_of_its_app(tmp_path: Path) -> None:
    hook = "from django_etp import on_connect\n\n@on_connect\ndef {}(connection): ...\n"
    for app, module, name in [("early", "etp_events", "first"), ("late", "__init__", "second")]:
        (tmp_path / app).mkdir()
        (tmp_path / app / "__init__.py").touch()
        (tmp_path / app / f"{module}.py").write_text(hook.format(name))
    program = """
        import django
        from django.conf import settings

        apps = ["django.contrib.auth", "django.contrib.contenttypes", "django_etp", "early", "late"]
        settings.configure(INSTALLED_APPS=apps)
        django.setup()
        from django_etp.events.registry import registry

        print(*[hook.function.__name__ for hook in registry.namespace("default").on_connect])
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])}
    del environment["DJANGO_SETTINGS_MODULE"]
    result = subprocess.run(
        [sys.executable, "-c", dedent(program)],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.split() == ["first", "second"]


def test_an_event_of_two_apps_is_refused_with_both_places(install: Install) -> None:
    module = 'from django_etp import etp_event\n\n@etp_event("buy")\ndef {}(connection, event): ...\n'
    with pytest.raises(EventAlreadyRegistered) as raised:
        install(
            {"shop_left/etp_events.py": module.format("left"), "shop_right/etp_events.py": module.format("right")},
            "shop_left",
            "shop_right",
        )
    for place in ("shop_left.etp_events.left", "shop_right.etp_events.right", "left/etp_events.py:3"):
        assert place in str(raised.value)


# The decorators


def test_rooms_of_two_apps_whose_patterns_overlap_are_refused_with_both_places(install: Install) -> None:
    module = 'from django_etp import etp_room\n\n@etp_room("orders/<{}:pk>")\ndef {}(connection, pk): ...\n'
    with pytest.raises(ImproperlyConfigured) as raised:
        install(
            {
                "shop_left/etp_events.py": module.format("int", "left"),
                "shop_right/etp_events.py": module.format("slug", "right"),
            },
            "shop_left",
            "shop_right",
        )
    for place in ("shop_left.etp_events.left", "shop_right.etp_events.right", "left/etp_events.py:3"):
        assert place in str(raised.value)


def test_a_room_belongs_to_the_names_of_its_namespace(etp_registry: Registry) -> None:
    etp_room("lobby", namespace="staff")(lambda connection: None)
    assert etp_registry.handled == ["staff"]
    assert "staff" in etp_registry.names


def test_the_decorated_function_stays_what_it_was(etp_registry: Registry) -> None:
    def handler(connection: Any, event: Any = None) -> None: ...

    assert etp_event("event")(handler) is handler
    for hook in (on_connect, on_disconnect, on_error, on_unknown_event):
        assert hook(handler) is handler
        assert hook()(handler) is handler
        assert hook(namespace="game")(handler) is handler


def test_one_function_may_handle_several_events(etp_registry: Registry) -> None:
    @etp_event("one")
    @etp_event("two")
    def handler(connection: Any, event: Any) -> Any: ...

    events = etp_registry.namespace("default").events
    assert events["one"].function is events["two"].function is handler


@pytest.mark.parametrize("name", ["", "hello", "a|b", "ünï", "with space", "_one_underscore"])
def test_names_that_etp_can_carry(etp_registry: Registry, name: str) -> None:
    etp_event(name)(lambda connection, event: None)
    assert name in etp_registry.namespace("default").events


@pytest.mark.parametrize("name", ["__", "__ack_hello", "__ping", "a||b", "a|", "\ud800", None, 1])
def test_names_that_are_refused(etp_registry: Registry, name: str) -> None:
    with pytest.raises(InvalidEventName):
        etp_event(name)


def test_the_decorator_without_a_name_says_what_to_write(etp_registry: Registry) -> None:
    with pytest.raises(InvalidEventName, match=r'@etp_event\("hello"\)'):

        @etp_event
        def handler(connection: Any, event: Any) -> None: ...


def test_a_second_handler_in_one_namespace_is_refused(etp_registry: Registry) -> None:
    etp_event("event")(lambda connection, event: None)
    with pytest.raises(EventAlreadyRegistered, match="'event'"):
        etp_event("event")(lambda connection, event: None)


def test_each_namespace_has_handlers_and_hooks_of_its_own(etp_registry: Registry) -> None:
    def handler(connection: Any, event: Any = None) -> None: ...

    etp_event("event")(handler)
    etp_event("event", namespace="game")(handler)
    on_connect(handler, namespace="game")
    assert list(etp_registry.namespace("game").events) == ["event"]
    assert names(etp_registry.namespace("game").on_connect) == ["handler"]
    assert names(etp_registry.namespace("default").on_connect) == []


def generator(connection: Any, event: Any) -> Iterator[int]:
    yield 1


async def async_generator(connection: Any, event: Any) -> Any:
    yield 1


class Generator:
    def __call__(self, connection: Any, event: Any) -> Iterator[int]:
        yield 1


class NoFunction:
    """What a decorator above the wrong line gets; calling it would make one more."""


@pytest.mark.parametrize("function", [None, "handler", 1, NoFunction, generator, Generator()])
def test_what_cannot_handle_anything_is_refused(etp_registry: Registry, function: Any) -> None:
    with pytest.raises(TypeError, match="A handler must"):
        etp_event("event")(function)


@pytest.mark.parametrize("hook", [on_connect, on_disconnect, on_error, on_unknown_event])
@pytest.mark.parametrize("function", [generator, async_generator, Generator()])
def test_a_hook_streams_nothing(hook: Any, function: Any) -> None:
    with pytest.raises(TypeError, match=r"A handler must not be a generator: .* Return a value instead of yielding"):
        hook(function)


def test_a_generator_learns_how_to_stream() -> None:
    with pytest.raises(TypeError, match="Write it as an async def to stream the answer"):
        etp_event("event")(generator)


@pytest.mark.parametrize("hook", [on_connect, on_disconnect, on_error, on_unknown_event])
def test_a_hook_given_a_namespace_by_position_says_what_to_write(hook: Any) -> None:
    with pytest.raises(TypeError, match=rf"got 'staff'\. Write @{hook.__name__}\(namespace=…\)"):
        hook("staff")


@pytest.mark.parametrize("namespace", [None, 7, ["staff"]])
def test_what_is_no_name_is_no_namespace(etp_registry: Registry, namespace: Any) -> None:
    message = "The name of a namespace must be str"
    with pytest.raises(TypeError, match=message):
        etp_event("event", namespace=namespace)(print)
    with pytest.raises(TypeError, match=message):
        on_connect(namespace=namespace)(print)
    with pytest.raises(TypeError, match=message):
        EtpConsumer.as_asgi(namespace=namespace)


# For tests


async def coroutine_function(connection: Any, event: Any = None) -> None: ...


def plain_function(connection: Any, event: Any = None) -> None: ...


def test_what_is_registered_inside_isolated_is_gone_after_it() -> None:
    registry = Registry()
    registry.etp_event("before")(plain_function)
    registry.on_connect(plain_function)
    with registry.isolated():
        registry.etp_event("inside")(plain_function)
        registry.on_connect(coroutine_function)
        registry.on_error(plain_function, namespace="game")
    assert list(registry.namespace("default").events) == ["before"]
    assert names(registry.namespace("default").on_connect) == ["plain_function"]
    assert names(registry.namespace("game").on_error) == []


def test_isolated_cleans_up_after_an_error() -> None:
    registry = Registry()
    with contextlib.suppress(ImproperlyConfigured), registry.isolated():
        registry.etp_event("inside")(plain_function)
        raise ImproperlyConfigured
    assert registry.namespace("default").events == {}


def test_it_knows_whether_a_room_has_presence() -> None:
    registry = Registry()
    registry.etp_room("a")(lambda connection: None)
    assert not registry.has_presence
    registry.etp_room("b", presence=True, namespace="game")(lambda connection: None)
    assert registry.has_presence
