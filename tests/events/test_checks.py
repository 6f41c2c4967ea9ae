"""The system checks of the handlers, as Django runs them."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import CheckMessage, run_checks

from django_etp.events.registry import registry


@pytest.fixture(autouse=True)
def debug(settings: Any) -> None:
    settings.DEBUG = True  # the suite's channel layer is in memory, which is worth a warning elsewhere


@pytest.fixture(autouse=True)
def handler() -> Iterator[None]:
    with registry.isolated():
        registry.etp_event("hello")(lambda connection, event: None)
        yield


@pytest.fixture
def no_handlers() -> Iterator[None]:
    with registry.isolated():
        registry._namespaces.clear()
        yield


@pytest.fixture
def app(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of an installed app named "shop"."""
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    with registry.isolated():
        settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "shop"]
        yield folder
    settings.INSTALLED_APPS = [name for name in settings.INSTALLED_APPS if name != "shop"]
    for name in [name for name in sys.modules if name.partition(".")[0] == "shop"]:
        del sys.modules[name]


MORE = "from django_etp import etp_event\n@etp_event('more')\ndef more(connection, event): ..."


def found() -> list[CheckMessage]:
    return [message for message in run_checks() if str(message.id).startswith("django_etp.")]


def ids() -> list[str | None]:
    return [message.id for message in found()]


def test_nothing_is_found_where_apps_have_handlers() -> None:
    assert found() == []


def test_a_project_without_handlers_is_found(no_handlers: None) -> None:
    (message,) = found()
    assert message.id == "django_etp.W301"
    assert "'etp_events'" in message.msg
    assert "@etp_event" in (message.hint or "")


def test_a_name_that_fits_no_module_is_found(settings: Any) -> None:
    settings.ETP = {"EVENT_MODULES": ["handlers.nowhere", "nowhere"]}
    messages = found()
    assert [message.id for message in messages] == ["django_etp.W302", "django_etp.W302"]
    assert "'handlers.nowhere'" in messages[0].msg
    assert "'nowhere'" in messages[1].msg


def test_hooks_alone_are_enough(no_handlers: None) -> None:
    registry.on_connect(lambda connection: None)
    assert found() == []


def test_a_name_that_nearly_fits_is_proposed(app: Path, settings: Any) -> None:
    (app / "etp_event.py").touch()
    settings.ETP = {"EVENT_MODULES": ["etp_handlers", "etp_evenst"]}
    messages = [message.hint or "" for message in found()]
    assert len(messages) == 2
    assert "Did you mean" not in messages[0]
    assert "shop.etp_event" in messages[1]


def test_a_module_that_registers_nothing_is_found(app: Path) -> None:
    (app / "etp_events.py").write_text("from django_etp import etp_event\nasync def hello(connection, event): ...\n")
    (message,) = found()
    assert message.id == "django_etp.W303"
    assert "'shop'" in message.msg
    assert "shop.etp_events" in message.msg


@pytest.mark.parametrize(
    "source",
    [
        "from django_etp import etp_event\n@etp_event('shop-hello')\nasync def hello(connection, event): ...",
        "from django_etp import on_connect\n@on_connect\nasync def enter(connection): ...",
        "from django_etp import etp_room\n@etp_room('shop:<int:pk>')\nasync def enter(connection, pk): ...",
        "from django_etp import outgoing\nsold = outgoing('sold', int)",
        "from django_etp import model_events\n# called in a function",
        "from . import more",
    ],
    ids=["handler", "hook", "room", "outgoing", "model-events", "another-module"],
)
def test_a_module_that_registers_something_is_not_found(app: Path, source: str) -> None:
    (app / "more.py").write_text(MORE)
    (app / "etp_events.py").write_text(source)
    registry.discover()
    assert found() == []


def test_a_module_of_another_name_is_imported_and_checked_if_the_setting_names_it(app: Path, settings: Any) -> None:
    (app / "events").mkdir()
    (app / "events" / "__init__.py").touch()
    (app / "events" / "chat.py").write_text("import django_etp")
    settings.ETP = {"EVENT_MODULES": ["events.chat"]}
    assert ids() == ["django_etp.W303"]


def test_a_module_for_something_else_is_not_found(app: Path, settings: Any) -> None:
    (app / "cluster.py").write_text("import json\nfrom pathlib import Path")  # django_etp has such a package, too
    settings.ETP = {"EVENT_MODULES": ["cluster"]}
    assert ids() == []


def test_wrong_settings_are_reported_once(settings: Any) -> None:
    settings.ETP = {"EVENT_MODULES": "etp_events"}
    assert ids() == ["django_etp.E001"]
