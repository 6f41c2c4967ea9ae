"""Who may connect."""

from typing import Any

import pytest

from django_etp import Connection, RejectConnection, on_connect
from django_etp.doctor.findings import Finding
from django_etp.doctor.handshakes import Handshake, check_origin, shake_hands
from django_etp.doctor.target import Target
from tests.support.deployments import serve, site, target_at, told

pytestmark = pytest.mark.usefixtures("etp_registry")


async def findings_of(target: Target, host: str | None = None) -> tuple[Finding, Finding]:
    handshake = await shake_hands(target)
    try:
        return handshake.finding, await check_origin(target, handshake, host)
    finally:
        if handshake.probe is not None:
            await handshake.probe.close()


async def test_pages_of_the_site_and_no_others_are_ok() -> None:
    with serve() as port:
        first, second = await findings_of(target_at(port))
    assert (told(first), told(second)) == (("handshake", "ok"), ("origin", "ok"))
    assert "HTTP 403" in second.came


async def test_an_origin_rule_that_refuses_the_pages_is_named() -> None:
    with serve(site(allowed_origins=["https://example.com"])) as port:
        first, second = await findings_of(target_at(port))
        _, rewritten = await findings_of(target_at(port), "127.0.0.1:8001")
    assert (told(first), told(second)) == (("handshake", "ok"), ("origin", "failure"))
    assert f"http://127.0.0.1:{port} was refused: HTTP 403" in second.came
    assert f"List 'http://127.0.0.1:{port}' in ETP['ALLOWED_ORIGINS']" in second.remedy
    assert "received the Host header '127.0.0.1:8001'" in rewritten.remedy
    assert "proxy_set_header Host $http_host;" in rewritten.remedy


async def test_an_origin_rule_that_lets_all_pages_in_is_named(settings: Any) -> None:
    with serve(site(allowed_origins="*")) as port:
        _, finding = await findings_of(target_at(port))
        assert told(finding) == ("origin", "failure")
        assert "https://etp-doctor.invalid was accepted" in finding.came
        settings.ETP = {"ALLOWED_ORIGINS": "*"}
        _, finding = await findings_of(target_at(port))
        assert told(finding) == ("origin", "warning")


async def test_a_refusal_whatever_the_origin_asks_for_a_login() -> None:
    @on_connect
    async def refuse(connection: Connection) -> None:
        raise RejectConnection("members only")

    with serve() as port:
        first, second = await findings_of(target_at(port))
        given, _ = await findings_of(target_at(port, is_given_login=True))
    assert (told(first), told(second)) == (("handshake", "failure"), ("origin", "skipped"))
    assert "HTTP 403" in first.came
    assert "--cookie" in first.remedy
    assert "another SECRET_KEY" in given.remedy


async def test_a_handshake_that_arrives_as_plain_http_names_the_upgrade() -> None:
    with serve(ws="none") as port:
        first, _ = await findings_of(target_at(port))
    assert told(first) == ("handshake", "failure")
    assert "HTTP 404" in first.came
    assert "proxy_set_header Upgrade $http_upgrade;" in first.remedy


async def test_a_path_without_a_route_is_named() -> None:
    with serve() as port:
        first, _ = await findings_of(target_at(port, route="/elsewhere/"))
    assert "HTTP 500" in first.came
    assert "asgi.py has no route for this path" in first.remedy


async def test_a_server_that_is_not_there_is_named(unused_tcp_port: int) -> None:
    first, _ = await findings_of(target_at(unused_tcp_port))
    assert told(first) == ("handshake", "failure")
    assert "that the server runs" in first.remedy


async def test_without_a_connection_the_origin_is_not_examined(unused_tcp_port: int) -> None:
    target = target_at(unused_tcp_port)
    handshake = await shake_hands(target)
    assert isinstance(handshake, Handshake)
    assert (await check_origin(target, handshake, None)).status == "skipped"
