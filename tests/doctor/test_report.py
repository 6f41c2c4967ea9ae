"""The findings as text and as JSON."""

import json

from django_etp.doctor.findings import failure, ok, skipped, warning
from django_etp.doctor.report import has_failed, summary, to_json, to_lines

FINE = ok("origin", "this", "that", seconds=0.5)
WRONG = failure("broker", "a reply", "none\x1b[2J", "Start it.")


def test_a_finding_is_a_line_and_what_to_do_another() -> None:
    assert to_lines(FINE) == "OK    origin        expected: this; came: that."
    assert to_lines(WRONG).splitlines() == [
        r"FAIL  broker        expected: a reply; came: none\x1b[2J.",
        "                    to do: Start it.",
    ]


def test_warnings_and_skipped_checks_are_no_failure() -> None:
    findings = [FINE, warning("a", "b", "c", "d"), skipped("a", "b", "c")]
    assert not has_failed(findings)
    assert summary(findings) == "1 OK, 1 WARN, 1 SKIP"
    assert has_failed([*findings, WRONG])


def test_json_holds_all() -> None:
    content = json.loads(to_json([FINE, WRONG], "ws://here/"))
    assert (content["url"], content["ok"]) == ("ws://here/", False)
    assert content["findings"][0] == {
        "check": "origin",
        "status": "ok",
        "expected": "this",
        "came": "that",
        "remedy": "",
        "figures": {"seconds": 0.5},
    }
    assert json.loads(to_json([FINE], None))["ok"] is True
