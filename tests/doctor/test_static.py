"""The browser client that the site serves."""

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import django_etp
from django_etp.doctor.static import check_static
from tests.support.deployments import target_at

CLIENT = Path(django_etp.__file__).parent / "static/django_etp/etp.js"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def static_port(tmp_path: Path, settings: Any) -> Iterator[int]:
    """The port of a server of a folder of static files, in which etp.js is the installed one."""
    settings.STATIC_URL = "/static/"
    file = tmp_path / "static/django_etp/etp.js"
    file.parent.mkdir(parents=True)
    file.write_bytes(CLIENT.read_bytes())
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join(10)


async def test_the_installed_client_is_ok(static_port: int, tmp_path: Path) -> None:
    assert (await check_static(target_at(static_port))).status == "ok"
    served = tmp_path / "static/django_etp/etp.js"
    served.write_bytes(served.read_bytes() + b"\n//# sourceMappingURL=etp.abc.map\n")  # as a storage may add
    assert (await check_static(target_at(static_port))).status == "ok"


async def test_a_stale_client_is_named(static_port: int, tmp_path: Path) -> None:
    (tmp_path / "static/django_etp/etp.js").write_text("// of last year")
    finding = await check_static(target_at(static_port))
    assert finding.status == "failure"
    assert f"http://127.0.0.1:{static_port}/static/django_etp/etp.js is another file: 15 bytes" in finding.came
    assert "Run collectstatic" in finding.remedy


async def test_a_client_that_is_not_served_is_a_warning(static_port: int, tmp_path: Path, unused_tcp_port: int) -> None:
    (tmp_path / "static/django_etp/etp.js").unlink()
    finding = await check_static(target_at(static_port))
    assert (finding.status, "HTTP 404" in finding.came) == ("warning", True)
    assert (await check_static(target_at(unused_tcp_port))).status == "warning"


async def test_a_file_that_is_missing_in_the_manifest_is_a_warning(settings: Any, tmp_path: Path) -> None:
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "django.contrib.staticfiles"]
    settings.STATIC_URL, settings.STATIC_ROOT = "/static/", str(tmp_path)
    settings.STORAGES = {
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"},
    }
    finding = await check_static(target_at(1))
    assert finding.status == "warning"
    assert "Missing staticfiles manifest entry" in finding.came
