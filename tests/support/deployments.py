"""Deployments for `etp_doctor` to examine: uvicorn in threads of the test's own process, each with a hub of its own."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from django.contrib.sessions.backends.file import SessionStore
from django.core.asgi import get_asgi_application
from django.urls import path

from django_etp.consumers import EtpConsumer
from django_etp.doctor.findings import Finding
from django_etp.doctor.target import Target, make_target

ETP = "django_etp.uvicorn:Protocol"


def site(*, has_session: bool = True, **options: Any) -> Any:
    """Return an application with a consumer of these options at /ws/, and Django for HTTP."""
    socket: Any = URLRouter([path("ws/", EtpConsumer.as_asgi(**options))])
    if has_session:
        socket = AuthMiddlewareStack(socket)
    return ProtocolTypeRouter({"http": get_asgi_application(), "websocket": socket})


@contextmanager
def serve(application: Any = None, **options: Any) -> Iterator[int]:
    """Serve an application on a free loopback port until the block ends; yield the port."""
    config = uvicorn.Config(
        site() if application is None else application,
        **{"host": "127.0.0.1", "port": 0, "log_config": None, "lifespan": "off", "ws": ETP, **options},
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="site")
    thread.start()
    try:
        deadline = time.monotonic() + 15
        while not server.started:
            assert thread.is_alive(), "the server ended"
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.01)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(15)
        assert not thread.is_alive()


def target_at(port: int, *, route: str = "/ws/", timeout: float = 5.0, **options: Any) -> Target:
    """Return the target at a loopback port."""
    return make_target(f"ws://127.0.0.1:{port}{route}", timeout=timeout, **options)


def use_file_sessions(settings: Any, monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
    """Keep sessions in files, which the threads and processes of a test share without a database."""
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.file"
    monkeypatch.setattr(SessionStore, "_storage_path", str(directory), raising=False)  # Django reads the setting once


def told(finding: Finding) -> tuple[str, str]:
    """Return what a finding is about, and how it ended."""
    return finding.check, finding.status.value
