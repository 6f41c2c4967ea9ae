"""Processes compared with this one."""

from dataclasses import replace
from typing import Any

import pytest

from django_etp.conf import get_settings
from django_etp.doctor.comparison import Process, compare
from django_etp.doctor.facts import VERSION, ProcessFacts, fingerprint
from django_etp.doctor.findings import Finding


@pytest.fixture
def facts() -> ProcessFacts:
    return ProcessFacts(
        "a", "process 7 on web-1", 0.0, VERSION, fingerprint("n"), fingerprint(f"n {get_settings()!r}"), True
    )


def findings_of(*processes: Process) -> dict[str, Finding]:
    return {finding.check: finding for finding in compare(processes, "n")}


def test_processes_that_agree_are_ok(facts: ProcessFacts) -> None:
    findings = findings_of(Process("a", True, 0.0, facts), Process("b", None, 0.0, facts))
    assert {check: finding.status.value for check, finding in findings.items()} == dict.fromkeys(
        ["secret key", "clocks", "versions"], "ok"
    )


def test_a_process_that_refuses_the_signature_has_another_key(facts: ProcessFacts) -> None:
    finding = findings_of(Process("a", True, 0.0, facts), Process("b", False))["secret key"]
    assert finding.status == "failure"
    assert finding.came == "process b does not accept what is signed with it"
    assert "SECRET_KEY" in finding.remedy


def test_a_process_behind_the_broker_with_another_fingerprint_has_another_key(facts: ProcessFacts) -> None:
    other = replace(facts, hub="b", key="0" * 32, settings="0" * 32)
    findings = findings_of(Process("a", True, 0.0, facts), Process("b", None, 0.0, other))
    assert findings["secret key"].status == "failure"
    assert "process 7 on web-1 (b)" in findings["secret key"].came
    assert findings["versions"].status == "ok"  # with another key its settings cannot be compared


def test_clocks_and_versions_and_settings_that_differ_are_named(facts: ProcessFacts, settings: Any) -> None:
    other = replace(facts, hub="b", version="0.0.1")
    findings = findings_of(Process("b", None, -40.0, other))
    assert findings["clocks"].status == "failure"
    assert findings["versions"].came == "there is 0.0.1, too"
    settings.ETP = {"MAX_ROOMS": 7}
    assert "process 7 on web-1 has other ETP settings" in findings_of(Process("a", True, 0.0, facts))["versions"].came


def test_without_an_answer_nothing_is_compared() -> None:
    findings = findings_of(Process(""))
    assert {check: finding.status.value for check, finding in findings.items()} == {
        "secret key": "skipped",
        "clocks": "skipped",
    }
