"""A real nginx for the tests: the system's, or the one that `make nginx` unpacks into `.venv/nginx`."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:{ROOT}/.venv/nginx/usr/sbin")

# Everything that nginx writes goes below its working folder. `user root` is for tests that root runs: nginx does not
# switch to a user who may be missing on this machine, and who may not read the folder.
_CONFIGURATION = """
{user}
daemon off;
pid nginx.pid;
error_log stderr;
worker_rlimit_nofile 20000;
events {{ worker_connections 10000; }}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    {servers}
}}
"""


@contextmanager
def start_nginx(servers: str, port: int, directory: Path) -> Iterator[None]:
    """Run nginx with these `upstream` and `server` blocks, one of which listens on `port`, until the block ends."""
    assert NGINX
    user = "user root;" if os.geteuid() == 0 else ""
    (directory / "nginx.conf").write_text(_CONFIGURATION.format(user=user, servers=servers))
    log = directory / "nginx.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [NGINX, "-e", "stderr", "-p", str(directory), "-c", "nginx.conf"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait_until_it_listens(process, port, log)
        yield
    finally:
        process.terminate()
        process.wait(timeout=15)


def _wait_until_it_listens(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + 15
    while True:
        assert process.poll() is None, f"nginx ended with {process.returncode}:\n{log.read_text()}"
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        assert time.monotonic() < deadline, f"nginx does not listen:\n{log.read_text()}"
        time.sleep(0.02)
