"""Options of uvicorn about processes and sockets, on its own WebSocket class and on ours: TLS, IPv6, workers and so on.

docs/recipes/gunicorn.md has a worker class for gunicorn, which tests/project/test_recipes.py runs.
"""

import asyncio
import json
import os
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from websockets.asyncio.client import ClientConnection, connect, unix_connect

from tests.support.peers import WAIT, expect_close, receive
from tests.support.servers import Server, ServerError, start_process

CLASSES = ["websockets-sansio", "django_etp.uvicorn:Protocol"]
OPTIONS = {"compression": None, "max_size": None, "ping_interval": None, "open_timeout": WAIT}

Open = Callable[[str], Awaitable[ClientConnection]]


@contextmanager
def serve(ws_class: str, *options: str, ready: str) -> Iterator[Server]:
    command = ["uvicorn", "--ws", ws_class, *options, "tests.support.asgi_sites:application"]
    with start_process("uvicorn", command, ready=ready) as server:
        yield server
        server.stop()
        assert server.complaints == []


def make_certificate(directory: Path) -> tuple[Path, Path]:
    """Write a certificate for ::1 that is signed by itself, and its key; return their paths."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("::1"))])
    certificate = builder.add_extension(names, critical=False).sign(key, hashes.SHA256())
    paths = directory / "certificate.pem", directory / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_format = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    paths[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, *key_format))
    return paths


async def shown(open_peer: Open) -> dict[str, Any]:
    """Return the scope that an application sees, without what differs between two connections."""
    peer = await open_peer("/show-scope/")
    scope: dict[str, Any] = json.loads(await receive(peer))
    await peer.close()
    scope["extensions"].pop("django_etp.direct", None)
    scope["headers"] = [header for header in scope["headers"] if header[0] not in ("host", "sec-websocket-key")]
    return scope


async def check_echo(open_peer: Open) -> ClientConnection:
    """Send messages of several sizes, and return the connection."""
    peer = await open_peer("/echo")
    for message in ("x", "ä" * 70_000, bytes(1_000_000)):
        await peer.send(message)
        assert await receive(peer) == message
    return peer


async def test_workers_with_tls_on_ipv6(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    options = ["--host", "::1", "--port", "0", "--workers", "2"]
    options += ["--ssl-certfile", str(certificate), "--ssl-keyfile", str(key)]
    context = ssl.create_default_context(cafile=str(certificate))
    scopes = []
    for ws_class in CLASSES:
        ready = r"(?s)running on https://\[::1\]:(\d+)(?:.*startup complete){2}"
        with serve(ws_class, *options, ready=ready) as server:

            async def open_peer(path: str, port: int = server.port) -> ClientConnection:
                return await connect(f"wss://[::1]:{port}{path}", ssl=context, proxy=None, **OPTIONS)

            scope = await shown(open_peer)
            assert (scope["client"].pop(0), scope["server"]) == ("::1", ["::1", server.port])
            del scope["client"], scope["server"]
            scopes.append(scope)
            peer = await check_echo(open_peer)
            await asyncio.to_thread(server.stop)
            assert await expect_close(peer) == (1012, "")
    assert scopes[0] == scopes[1]
    assert scopes[1]["scheme"] == "wss"


async def test_reload_on_a_unix_socket(tmp_path: Path) -> None:
    source, path = tmp_path / "source.py", str(tmp_path / "socket")
    source.touch()
    options = ["--uds", path, "--reload", "--reload-dir", str(tmp_path)]
    scopes = []
    for ws_class in CLASSES:
        with serve(ws_class, *options, ready="startup complete") as server:

            async def open_peer(target: str) -> ClientConnection:
                return await unix_connect(path, f"ws://localhost{target}", **OPTIONS)

            scopes.append(await shown(open_peer))
            peer = await check_echo(open_peer)
            await asyncio.to_thread(change, source, server)
            assert await expect_close(peer) == (1012, "")
            await asyncio.to_thread(server.wait_for_log, "(?s)startup complete.*startup complete")
            await (await check_echo(open_peer)).close()
    assert scopes[0] == scopes[1]
    assert scopes[1]["server"] == [path, None]


def change(source: Path, server: Server) -> None:
    """Change a file until uvicorn sees it; before it has looked for the first time, it does not."""
    for seconds in (2, 4, 8):
        os.utime(source, (source.stat().st_atime, source.stat().st_mtime + seconds))
        with suppress(ServerError):
            server.wait_for_log("detected changes", timeout=2)
            return
    pytest.fail(f"uvicorn saw no change:\n{server.log}")
