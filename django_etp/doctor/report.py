"""The findings as text for people, and as JSON for programs."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict

from django_etp.quoting import escape

from .findings import Finding, Status

__all__ = ["has_failed", "summary", "to_json", "to_lines"]

_WORDS = {Status.OK: "OK", Status.WARNING: "WARN", Status.FAILURE: "FAIL", Status.SKIPPED: "SKIP"}


def to_lines(finding: Finding) -> str:
    """Return a finding as lines of text: the expectation and the outcome, and the remedy, if there is one."""
    head = f"{_WORDS[finding.status]:<5} {finding.check:<13} expected: {finding.expected}; came: {finding.came}."
    return escape(head) + (f"\n      {'':<13} to do: {escape(finding.remedy)}" if finding.remedy else "")


def to_json(findings: Iterable[Finding], url: str | None) -> str:
    """Return all findings as a JSON object."""
    findings = list(findings)
    content = {
        "url": url,
        "ok": not has_failed(findings),
        "findings": [asdict(finding) for finding in findings],
    }
    return json.dumps(content, indent=2, ensure_ascii=False)


def summary(findings: Iterable[Finding]) -> str:
    """Return how many checks ended in which way."""
    counts = Counter(finding.status for finding in findings)
    return ", ".join(f"{counts[status]} {_WORDS[status]}" for status in Status if counts[status])


def has_failed(findings: Iterable[Finding]) -> bool:
    """Return whether something is wrong; warnings do not count."""
    return any(finding.status is Status.FAILURE for finding in findings)
