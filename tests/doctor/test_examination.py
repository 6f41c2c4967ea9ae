"""Whole examinations: a healthy deployment, and deployments that are broken on purpose, behind one nginx."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from django_etp import Connection, RejectConnection, on_connect
from django_etp.client.probe import Probe
from django_etp.doctor.asking import Interview, ask_facts
from django_etp.doctor.delivery import check_delivery, meet_processes
from django_etp.doctor.examination import Plan, examine, run
from django_etp.doctor.findings import Finding
from django_etp.doctor.handshakes import check_origin, shake_hands
from django_etp.doctor.sessions import check_session
from django_etp.doctor.silence import check_silence
from django_etp.doctor.target import InvalidTarget, Target
from tests.support.deployments import serve, site, target_at, use_file_sessions
from tests.support.nginx import NGINX, start_nginx
from tests.support.servers import ROOT, Server, held_port, start_server
from tests.support.valkey import start_valkey

needs_nginx = [pytest.mark.nginx, pytest.mark.skipif(not NGINX, reason="nginx is missing")]

UPGRADE = 'proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade";'
HOST = "proxy_set_header Host $http_host;"

# The first location is that of docs/deployment.md; in each of the others one thing is wrong.
BLOCKS = """
upstream site {{ server 127.0.0.1:{ports[0]} max_fails=0; server 127.0.0.1:{ports[1]} max_fails=0; }}
upstream split {{ server 127.0.0.1:{ports[0]} max_fails=0; server 127.0.0.1:{stray} max_fails=0; }}
server {{
    listen 127.0.0.1:{proxy};
    location /static/ {{ alias {static}/; }}
    location = /ws/ {{ proxy_pass http://site; {UPGRADE} {HOST} proxy_read_timeout 75s; }}
    location = /no-upgrade/ {{ proxy_pass http://site/ws/; {HOST} }}
    location = /no-host/ {{ proxy_pass http://site/ws/; {UPGRADE} }}
    location = /no-cookie/ {{ proxy_pass http://site/ws/; {UPGRADE} {HOST} proxy_set_header Cookie ""; }}
    location = /short/ {{ proxy_pass http://site/ws/; {UPGRADE} {HOST} proxy_read_timeout 1s; }}
    location = /split/ {{ proxy_pass http://split/ws/; {UPGRADE} {HOST} }}
    location = /down/ {{ proxy_pass http://127.0.0.1:{nothing}/ws/; {UPGRADE} {HOST} }}
}}
"""


def statuses(findings: list[Finding]) -> dict[str, str]:
    return {finding.check: finding.status.value for finding in findings}


class Deployment:
    """daphne and uvicorn behind nginx, with a broker.

    `port` is nginx's, `stray` is for one more server, `settings` are those of the site, and `other_layers` do not meet
    theirs.
    """

    def __init__(self, port: int, stray: int, settings: dict[str, Any], other_layers: dict[str, Any]) -> None:
        self.port = port
        self.stray = stray
        self.settings = settings
        self.other_layers = other_layers

    def target(self, route: str, **options: Any) -> Target:
        return target_at(self.port, route=route, **options)

    async def interview(self, target: Target, origin: str | None) -> Interview:
        probe = await target.open(origin)
        assert isinstance(probe, Probe), probe
        interview = await ask_facts(probe, "n", time.time, 5.0)
        await probe.close()
        return interview


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    directory = tmp_path_factory.mktemp("deployment")
    (directory / "sessions").mkdir()
    with ExitStack() as running:
        valkey = running.enter_context(start_valkey())
        proxy, stray, nothing = (running.enter_context(held_port()) for _ in range(3))
        settings = {
            "SECRET_KEY": "tests",
            "ALLOWED_HOSTS": ["*"],  # so that a page's origin must be the Host header, with its port
            "SILENCED_SYSTEM_CHECKS": ["django_etp.W101"],
            "STATIC_URL": "/static/",
            "CHANNEL_LAYERS": valkey.layers("pubsub", prefix="site"),
            "SESSION_ENGINE": "django.contrib.sessions.backends.file",
            "SESSION_FILE_PATH": str(directory / "sessions"),
        }
        kinds = "daphne", "uvicorn-etp"
        ports = [running.enter_context(start_server(kind, settings=settings)).port for kind in kinds]
        static = ROOT / "django_etp" / "static"
        numbers = {"ports": ports, "proxy": proxy, "stray": stray, "nothing": nothing}
        blocks = BLOCKS.format(**numbers, static=static, UPGRADE=UPGRADE, HOST=HOST)
        running.enter_context(start_nginx(blocks, proxy, directory))
        yield Deployment(proxy, stray, settings, valkey.layers("pubsub", prefix="another"))


class TestBehindNginx:
    pytestmark = needs_nginx

    def test_a_healthy_deployment_on_daphne_and_uvicorn_has_nothing_wrong(self, deployment: Deployment) -> None:
        process = subprocess.run(
            [sys.executable, "-m", "django", "etp_doctor", deployment.target("/ws/").url, "--idle", "0.5", "--json"],
            cwd=ROOT,
            env={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": "tests.site.settings",
                "SITE_SETTINGS": json.dumps(deployment.settings),
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        report = json.loads(process.stdout)
        wrong = [finding for finding in report["findings"] if finding["status"] != "ok"]
        assert (wrong, process.returncode, report["ok"]) == ([], 0, True), process.stderr
        figures = {finding["check"]: finding["figures"] for finding in report["findings"]}
        assert figures["delivery"]["processes"] == figures["cluster"]["processes"] == 2
        assert list(Path(deployment.settings["SESSION_FILE_PATH"]).iterdir()) == []

    async def test_a_proxy_without_upgrade_is_named(self, deployment: Deployment) -> None:
        finding = (await shake_hands(deployment.target("/no-upgrade/"))).finding
        assert finding.status == "failure"
        assert "proxy_set_header Upgrade $http_upgrade;" in finding.remedy

    async def test_a_proxy_without_a_server_is_named(self, deployment: Deployment) -> None:
        finding = (await shake_hands(deployment.target("/down/"))).finding
        assert finding.status == "failure"
        assert "HTTP 502" in finding.came
        assert "The proxy reaches no server" in finding.remedy

    async def test_a_proxy_that_changes_the_host_is_named(self, deployment: Deployment) -> None:
        target = deployment.target("/no-host/")
        handshake = await shake_hands(target)
        assert handshake.probe is not None
        interview = await ask_facts(handshake.probe, "n", time.time, 5.0)
        await handshake.probe.close()
        assert interview.connection is not None
        finding = await check_origin(target, handshake, interview.connection.host)
        assert finding.status == "failure"
        assert "The server received the Host header 'site'" in finding.remedy

    async def test_a_proxy_that_removes_cookies_is_named(self, deployment: Deployment) -> None:
        target = deployment.target("/no-cookie/", cookies={"sessionid": "abc"})
        interview = await deployment.interview(target, target.origin)
        findings = {finding.check: finding for finding in check_session(target, interview, "")}
        assert findings["cookie"].status == "failure"
        assert "A proxy removes the header Cookie" in findings["cookie"].remedy

    async def test_a_proxy_with_a_short_idle_timeout_is_named(self, deployment: Deployment) -> None:
        target = deployment.target("/short/")
        finding = await check_silence(target, target.origin, 10.0)
        assert finding.status == "failure"
        assert 0.5 < finding.figures["seconds"] < 5
        assert "proxy_read_timeout 75s;" in finding.remedy

    async def test_two_layers_that_do_not_meet_are_named(
        self, deployment: Deployment, settings: Any, monkeypatch: pytest.MonkeyPatch, etp_registry: object
    ) -> None:
        monkeypatch.setattr("django_etp.doctor.delivery._LIMIT", 0.5)
        settings.CHANNEL_LAYERS = deployment.other_layers
        target = deployment.target("/split/")
        with serve(site(has_session=False), port=deployment.stray):
            met = await meet_processes(target, None, "n", time.time)
            finding = await check_delivery(met, time.time)
            for each in met:
                await each.probe.close()
        assert finding.status == "failure"
        assert finding.came.count("nothing that") == 2
        assert "the same broker in CHANNEL_LAYERS, the same 'prefix'" in finding.remedy


@pytest.fixture
def examined(settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, etp_registry: object) -> list[Finding]:
    """The findings that are shown, one after the other."""
    use_file_sessions(settings, monkeypatch, tmp_path)
    return []


def test_each_check_is_shown_when_it_is_made(examined: list[Finding]) -> None:
    with serve() as port:
        findings = run(f"ws://127.0.0.1:{port}/ws/", idle=0.1, show=examined.append)
    assert findings == examined
    assert "failure" not in statuses(findings).values(), findings
    assert [*dict.fromkeys(finding.check for finding in findings)] == [
        *("settings", "broker", "etp.js", "handshake", "subprotocol", "compression", "round trip", "origin"),
        *("cookie rules", "cookie", "session", "login", "cluster", "secret key", "clocks", "versions", "delivery"),
        *("senders", "idle timeout"),
    ]


def test_without_a_url_only_the_inside_is_examined(examined: list[Finding]) -> None:
    assert {"settings", "broker", "cluster"} == statuses(run(None, show=examined.append)).keys()


def test_without_a_handshake_the_examination_ends(examined: list[Finding], unused_tcp_port: int) -> None:
    findings = run(f"ws://127.0.0.1:{unused_tcp_port}/ws/", idle=5.0, show=examined.append)
    assert statuses(findings[-2:]) == {"handshake": "failure", "cluster": "skipped"}


def test_a_client_that_is_refused_after_the_accept_is_named(examined: list[Finding]) -> None:
    @on_connect
    async def refuse(connection: Connection) -> None:
        await connection.aaccept()
        raise RejectConnection("Log in first")

    with serve() as port:
        findings = run(f"ws://127.0.0.1:{port}/ws/", idle=5.0, show=examined.append)
    found = {finding.check: finding for finding in findings}
    assert found["round trip"].status == "failure"
    assert "--user" in found["round trip"].remedy
    assert (found["session"].status, found["delivery"].status) == ("skipped", "skipped")


@pytest.mark.parametrize("server", ["uvicorn"], indirect=True)
def test_another_secret_key_is_named(examined: list[Finding], server: Server) -> None:
    # With a token no session is stored, which this server could not look up.
    findings = run(server.ws_url(), token="none", idle=0, show=examined.append)
    found = {finding.check: finding for finding in findings}
    assert found["secret key"].status == "failure"
    assert "give all of them one SECRET_KEY" in found["secret key"].remedy
    assert (found["round trip"].status, found["session"].status) == ("ok", "skipped")


@pytest.mark.usefixtures("etp_registry")
async def test_clocks_that_differ_are_named() -> None:
    with serve() as port:
        plan = Plan(target=target_at(port), idle=0, clock=lambda: time.time() - 40)
        found = {finding.check: finding async for finding in examine(plan)}
    assert found["clocks"].status == "failure"
    assert " is 40.0 s ahead" in found["clocks"].came
    assert found["secret key"].status == "ok"


def test_a_broker_that_refuses_is_named_and_the_rest_is_examined(
    examined: list[Finding], settings: Any, unused_tcp_port: int
) -> None:
    with serve() as port:
        layer = {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer"}
        target = f"ws://127.0.0.1:{port}/ws/"
        hosts = [{"address": f"redis://127.0.0.1:{unused_tcp_port}", "socket_timeout": 8}]
        run(target, idle=0, show=lambda finding: None)  # its hub is made with the layer in memory
        settings.CHANNEL_LAYERS = {"default": {**layer, "CONFIG": {"hosts": hosts}}}
        found = statuses(run(target, idle=0, show=examined.append))
    assert found["broker"] == "failure"
    assert found["round trip"] == "ok"
    assert "cluster" not in found


@pytest.mark.parametrize("options", [{"idle": -1}, {"timeout": 0}, {"load": -1}, {"load": 10**6}, {"user": "nobody"}])
@pytest.mark.django_db
def test_arguments_that_do_not_fit_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidTarget):
        run("ws://127.0.0.1:1/", show=lambda finding: None, **options)
