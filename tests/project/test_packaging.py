"""What `pip install django-etp` brings: the files, the dependencies, and names that import without Django."""

import email.message
import email.parser
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
MODULES_WITHOUT_DJANGO = [
    "django_etp",
    "django_etp.protocol.acks",
    "django_etp.client",
    "django_etp.protocol",
    "django_etp.pytest_plugin",
]


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the wheel and the sdist."""
    directory = tmp_path_factory.mktemp("dist")
    run("-m", "hatchling", "build", "-d", str(directory))
    return directory


@pytest.fixture(scope="module")
def wheel(distributions: Path) -> Path:
    (path,) = distributions.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory to import the installed package from."""
    directory = tmp_path_factory.mktemp("installed")
    run("-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target", str(directory), str(wheel))
    return directory


def run(*arguments: str, cwd: Path = ROOT, python_path: Path | None = None) -> str:
    environment = os.environ | ({"PYTHONPATH": str(python_path)} if python_path else {})
    process = subprocess.run([sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True)
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout.strip()


def package_files() -> set[str]:
    return {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "django_etp").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_wheel_holds_every_file_of_the_package_and_nothing_else(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == package_files()
    assert "django_etp/py.typed" in names


def test_sdist_holds_every_file_of_the_package_and_what_builds_it(distributions: Path):
    (path,) = distributions.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames()}
    assert package_files() | {"pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE"} <= names


def test_package_needs_django_channels_and_asgiref_alone(wheel: Path):
    requirements = [Requirement(text) for text in metadata(wheel).get_all("Requires-Dist", [])]
    assert {needed.name.lower() for needed in requirements if needed.marker is None} == {
        "django",
        "channels",
        "asgiref",
    }


def metadata(wheel: Path) -> email.message.Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return email.parser.Parser().parsestr(archive.read(name).decode())


@pytest.mark.parametrize("module", MODULES_WITHOUT_DJANGO)
def test_installed_module_imports_without_django(installed: Path, tmp_path: Path, module: str):
    code = f"import sys, {module}; print({module}.__file__, *sorted({{'django', 'channels'}} & sys.modules.keys()))"
    path = installed / module.replace(".", "/")
    expected = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    assert run("-c", code, cwd=tmp_path, python_path=installed) == str(expected)


@pytest.mark.parametrize("there_is", ["", "an old one"], ids=["missing", "old"])
def test_the_client_without_websockets_names_the_extra(installed: Path, tmp_path: Path, there_is: str):
    if there_is:  # such as a release without websockets.asyncio
        (tmp_path / "websockets").mkdir()
        (tmp_path / "websockets" / "__init__.py").touch()
    code = f"""
import sys
if not {bool(there_is)}:
    sys.modules["websockets"] = None
try:
    import django_etp.client
except ImportError as error:
    print(error)
"""
    assert "django-etp[client]" in run("-c", code, cwd=tmp_path, python_path=installed)


def test_the_text_for_package_indexes_links_to_nothing_that_is_not_there(wheel: Path):
    text = str(metadata(wheel).get_payload())
    assert "# django_etp" in text
    assert "a longer quick start (docs/quickstart.md)" in text
    assert re.findall(r"\]\((?!https?://)[^)]*\)", text) == []
    assert "docs/images/" not in text


def test_public_names_import_before_djangos_setup(installed: Path, tmp_path: Path):
    code = """
from django.conf import settings
settings.configure()
from django_etp import *
from django_etp.consumers import EtpConsumer
"""
    run("-W", "error", "-c", code, cwd=tmp_path, python_path=installed)
