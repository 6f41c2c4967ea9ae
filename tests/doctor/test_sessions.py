"""The cookie, the session and the user of a connection."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user
from django.contrib.auth.models import User
from django.test import Client

from django_etp.client.probe import Probe
from django_etp.doctor.asking import Interview, ask_facts
from django_etp.doctor.facts import ConnectionFacts
from django_etp.doctor.findings import Finding
from django_etp.doctor.sessions import check_session, stored_session
from django_etp.doctor.target import make_target
from tests.support.deployments import serve, site, target_at, use_file_sessions

pytestmark = pytest.mark.usefixtures("etp_registry")

FACTS = ConnectionFacts("default", "here", True, True, True, True, False)
TARGET = make_target("ws://here/", cookies={"sessionid": "abc"})


@pytest.fixture(autouse=True)
def _sessions(settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    use_file_sessions(settings, monkeypatch, tmp_path)


def statuses(findings: dict[str, Finding]) -> dict[str, str]:
    return {check: finding.status.value for check, finding in findings.items()}


def judge(facts: ConnectionFacts | None, problem: str = "", **changes: Any) -> dict[str, Finding]:
    interview = Interview("hub", "no facts" if facts is None else "", connection=facts)
    return {finding.check: finding for finding in check_session(replace(TARGET, **changes), interview, problem)}


async def findings_at(port: int) -> dict[str, Finding]:
    with stored_session() as (cookies, problem):
        target = target_at(port, cookies=cookies)
        probe = await target.open(target.origin)
        assert isinstance(probe, Probe)
        interview = await ask_facts(probe, "n", time.time, 5.0)
        await probe.close()
        return {finding.check: finding for finding in check_session(target, interview, problem)}


async def test_a_session_that_this_process_stores_is_found_by_the_server() -> None:
    with serve() as port:
        findings = await findings_at(port)
    assert statuses(findings) == {"cookie": "ok", "session": "ok", "login": "ok"}


async def test_a_site_without_session_middleware_is_named() -> None:
    with serve(site(has_session=False)) as port:
        findings = await findings_at(port)
    assert statuses(findings) == {"cookie": "ok", "session": "failure", "login": "warning"}
    assert "no session middleware is around the EtpConsumer" in findings["session"].came
    assert "AuthMiddlewareStack" in findings["session"].remedy


async def test_sessions_that_the_server_reads_elsewhere_are_named(
    settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    with stored_session() as (cookies, _), monkeypatch.context() as patch:
        use_file_sessions(settings, patch, tmp_path / "elsewhere")
        with serve() as port:
            target = target_at(port, cookies=cookies)
            probe = await target.open(target.origin)
            assert isinstance(probe, Probe)
            interview = await ask_facts(probe, "n", time.time, 5.0)
            await probe.close()
    findings = {finding.check: finding for finding in check_session(target, interview, "")}
    assert statuses(findings) == {"cookie": "ok", "session": "failure", "login": "ok"}
    assert "compare SESSION_ENGINE" in findings["session"].remedy


def test_a_cookie_that_a_proxy_removes_is_named() -> None:
    findings = judge(replace(FACTS, has_cookie=False, is_stored=False))
    assert statuses(findings) == {"cookie": "failure", "session": "skipped", "login": "ok"}
    assert "A proxy removes the header Cookie" in findings["cookie"].remedy


def test_a_login_that_is_given_must_be_one() -> None:
    findings = judge(FACTS, is_given_login=True)
    assert findings["login"].status == "failure"
    assert judge(replace(FACTS, is_logged_in=True), is_given_login=True)["login"].status == "ok"
    expired = judge(replace(FACTS, is_stored=False), is_given_login=True)["session"]
    assert expired.status == "failure"
    assert "The session has expired" in expired.remedy


def test_a_login_by_token_needs_no_session() -> None:
    facts = replace(FACTS, has_session=False, has_cookie=False, is_stored=False, is_logged_in=True)
    findings = judge(facts, cookies={}, token="t", is_given_login=True)
    assert statuses(findings) == {"cookie": "skipped", "session": "ok", "login": "ok"}


def test_a_project_without_sessions_needs_none(settings: Any) -> None:
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "django.contrib.sessions"]
    facts = replace(FACTS, has_session=False, has_cookie=False, is_stored=False)
    assert statuses(judge(facts, "not installed", cookies={})) == {"cookie": "skipped", "session": "ok", "login": "ok"}


def test_without_facts_nothing_is_judged() -> None:
    findings = judge(None)
    assert set(statuses(findings).values()) == {"skipped"}
    assert "no facts" in findings["session"].came


def test_a_session_that_cannot_be_stored_is_not_examined(settings: Any, tmp_path: Path) -> None:
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.nothing"
    with stored_session() as (cookies, problem):
        assert (cookies, problem[:19]) == ({}, "ModuleNotFoundError")
    findings = judge(replace(FACTS, has_cookie=False, is_stored=False), problem, cookies={})
    assert statuses(findings) == {"cookie": "skipped", "session": "skipped", "login": "ok"}
    assert "ModuleNotFoundError" in findings["session"].came


def test_without_the_app_of_sessions_none_is_stored(settings: Any) -> None:
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "django.contrib.sessions"]
    with stored_session() as (cookies, problem):
        assert (cookies, problem) == ({}, "django.contrib.sessions is not installed")


@pytest.mark.django_db
def test_a_session_may_be_that_of_a_user_who_exists(settings: Any, client: Client) -> None:
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.db"
    User.objects.create_user("ana")
    with stored_session("ana") as (cookies, problem):
        assert problem == ""
        client.cookies["sessionid"] = cookies["sessionid"]
        assert get_user(client).get_username() == "ana"  # type: ignore[arg-type]
    with stored_session("nobody") as (cookies, problem):
        assert (cookies, problem[:12]) == ({}, "DoesNotExist")


def test_the_stored_session_is_removed(tmp_path: Path) -> None:
    with stored_session() as (cookies, _):
        assert [cookies["sessionid"] in path.name for path in tmp_path.iterdir()] == [True]
    assert list(tmp_path.iterdir()) == []
