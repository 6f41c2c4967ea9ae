"""The page on observability, its dashboard and its alerts name the signals and metrics that exist, and all of them."""

import json
import re
from typing import Any

import pytest
from django.dispatch import Signal

from django_etp import signals
from django_etp.contrib.prometheus import metrics
from tests.support.documentation import ROOT

PAGE = (ROOT / "docs" / "observability.md").read_text()
DASHBOARD: dict[str, Any] = json.loads((ROOT / "docs" / "observability" / "grafana-dashboard.json").read_text())
ALERTS = (ROOT / "docs" / "observability" / "alerts.yml").read_text()

QUERIES = "\n".join(target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"])


def exposed() -> set[str]:
    """Return the names of the metrics, without the endings of a histogram's series."""
    found = [getattr(metrics, name) for name in metrics.__all__ if name.isupper()]
    return {f"{metric._name}_total" if metric._type == "counter" else metric._name for metric in found}


def named(text: str) -> set[str]:
    return {name.removesuffix("_bucket") for name in re.findall(r"\betp_\w+\b", text)}


def test_the_page_lists_every_metric():
    assert named("\n".join(line for line in PAGE.splitlines() if line.startswith("| `etp_"))) == exposed()


@pytest.mark.parametrize("text", [QUERIES, ALERTS], ids=["dashboard", "alerts"])
def test_queries_name_metrics_that_exist(text: str):
    assert len(named(text)) > 5
    assert named(text) <= exposed()


def test_the_page_lists_every_alert():
    assert re.findall(r"^\| `(Etp\w+)`", PAGE, re.MULTILINE) == re.findall(r"alert: (\w+)", ALERTS)


def test_the_page_lists_every_signal():
    rows = re.findall(r"^\| `(\w+)` \| `", PAGE, re.MULTILINE)
    assert [row for row in rows if not row.startswith("etp_")] == [
        name for name, value in vars(signals).items() if isinstance(value, Signal)
    ]


def test_panels_of_the_dashboard_do_not_overlap():
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in DASHBOARD["panels"]]
    assert len(set(places)) == len(places) == 14
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == 14
