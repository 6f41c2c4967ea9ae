"""The package's public names, and what importing them loads."""

import subprocess
import sys

import pytest

import django_etp


def loaded_by(statement: str, *names: str) -> list[str]:
    """Return which of the top-level packages are loaded after a statement in a fresh interpreter."""
    code = f"import sys\n{statement}\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}} & set({names})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.split()


@pytest.mark.parametrize(
    "statement",
    [
        "import django_etp",
        "import django_etp.protocol",
        "import django_etp.exceptions",
        "from django_etp import Event, InvalidFrame",
    ],
)
def test_the_codec_loads_neither_django_nor_asyncio(statement: str) -> None:
    assert loaded_by(statement, "django", "channels", "asgiref", "asyncio") == []


def test_the_acks_load_no_django() -> None:
    assert loaded_by("import django_etp.protocol.acks", "django", "channels", "asgiref") == []


def test_the_pytest_plugin_loads_no_django() -> None:
    assert loaded_by("import django_etp.pytest_plugin", "django", "channels") == []


@pytest.mark.parametrize("name", django_etp.__all__)
def test_each_public_name_can_be_had(name: str) -> None:
    assert getattr(django_etp, name) is not None


def test_dir_tells_the_public_names() -> None:
    assert set(django_etp.__all__) <= set(dir(django_etp))


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'etp_events'"):
        _ = django_etp.etp_events


def test_rooms_is_the_module_in_whatever_order_things_are_imported() -> None:
    code = "import django; from django.conf import settings; settings.configure(); django.setup()\n"
    for first in ("import django_etp.rooms", "from django_etp import rooms", "import django_etp; django_etp.rooms"):
        done = subprocess.run(
            [sys.executable, "-c", f"{code}{first}\nfrom django_etp import rooms\nrooms.of('default')"],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr


def test_the_version_is_a_version() -> None:
    assert django_etp.__version__[0].isdigit()
