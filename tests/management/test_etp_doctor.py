"""`manage.py etp_doctor`: translates its arguments, prints the findings, and fails if something is wrong."""

import json
import re
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import BaseCommand, CommandError, call_command

from django_etp.management.commands.etp_doctor import Command
from tests.support.deployments import serve, site, use_file_sessions
from tests.support.servers import ROOT

PAGE = (ROOT / "docs" / "doctor.md").read_text()

pytestmark = pytest.mark.usefixtures("etp_registry")


@pytest.fixture(autouse=True)
def _sessions(settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    use_file_sessions(settings, monkeypatch, tmp_path)


def output(*arguments: str) -> str:
    out = StringIO()
    call_command("etp_doctor", *arguments, stdout=out)
    return out.getvalue()


def test_a_healthy_deployment_prints_its_lines_and_succeeds() -> None:
    with serve() as port:
        lines = output(f"ws://127.0.0.1:{port}/ws/", "--idle=0.1", "--load=5").splitlines()
    assert any(
        line.startswith("OK    round trip    expected: an answer to a ping within 1 s; came: ") for line in lines
    )
    assert lines[-1].startswith("Nothing is wrong: ")
    assert not [line for line in lines if line.startswith("FAIL")]
    assert any(line.startswith("OK    load ") for line in lines)
    checks = {line[6:20].strip() for line in lines[:-1] if not line.startswith(" ")}
    listed = re.findall(r"^\| `([^`]+)` \|", PAGE.partition("## The lines and their remedies")[2], re.MULTILINE)
    shown = {line[6:20].strip() for line in re.findall(r"^OK    .*expected: .*", PAGE, re.MULTILINE)}
    assert set(listed) == shown == checks


def test_a_broken_deployment_prints_what_to_do_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    with serve(site(has_session=False)) as port, pytest.raises(CommandError) as caught:
        call_command("etp_doctor", f"ws://127.0.0.1:{port}/ws/", "--idle=0")
    lines = capsys.readouterr().out.splitlines()
    (number,) = [number for number, line in enumerate(lines) if line.startswith("FAIL  session ")]
    assert lines[number + 1].lstrip().startswith("to do: Put AuthMiddlewareStack around")
    assert str(caught.value).startswith("Something is wrong: ")
    assert "1 FAIL" in str(caught.value)
    assert caught.value.returncode == 1


def test_json_is_all_that_is_printed() -> None:
    with serve() as port:
        report = json.loads(output(f"http://127.0.0.1:{port}/ws/", "--idle=0", "--json"))
    assert report["ok"] is True
    assert {"check", "status", "expected", "came", "remedy", "figures"} == report["findings"][0].keys()


def test_cookies_and_origin_are_those_of_the_arguments() -> None:
    with serve(site(allowed_origins=["https://example.com"])) as port:
        arguments = ["--origin=https://example.com", "--cookie=sessionid=nothing", "--idle=0", "--json"]
        out = StringIO()
        with pytest.raises(CommandError):
            call_command("etp_doctor", f"ws://127.0.0.1:{port}/ws/", *arguments, stdout=out)
    findings = {finding["check"]: finding["status"] for finding in json.loads(out.getvalue())["findings"]}
    assert (findings["origin"], findings["cookie"], findings["session"]) == ("ok", "ok", "failure")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ftp://example.com/"], "Expected the address of the socket"),
        (["ws://example.com/", "--origin=example.com"], "Expected the origin of the pages"),
        (["ws://example.com/", "--cookie=sessionid"], "Expected a cookie as NAME=VALUE, got 'sessionid'."),
        (["ws://example.com/", "--load=-1"], "Expected seconds above 0, and a load of up to"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        output(*arguments)


def test_without_websockets_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "django_etp.doctor.examination", None)
    with pytest.raises(CommandError, match="install django-etp with its extra 'client'"):
        output("ws://example.com/")


def test_the_page_lists_every_option() -> None:
    inherited = {action.dest for action in BaseCommand().create_parser("manage.py", "x")._actions}
    options = {
        action.option_strings[0]
        for action in Command().create_parser("manage.py", "etp_doctor")._actions
        if action.dest not in inherited and action.option_strings
    }
    assert options == set(re.findall(r"^\| `(--\w+)", PAGE, re.MULTILINE))
