"""docs/operations.md says of each setting what the Structs say, and of each metric what the parts count."""

import re

from tests.support.gateways import ROOT
from tests.support.operations_page import PAGE, made

DASHBOARD = ROOT / "deploy/observability/grafana/dashboards/headrace.json"
_OF_A_HISTOGRAM = re.compile(r"_(bucket|sum|count)$")


def test_the_page_is_what_the_settings_and_the_metrics_say() -> None:
    text = PAGE.read_text()

    assert made(text) == text, "python -m tests.support.operations_page"
    assert text.count("| `HEADRACE_") > 30
    assert text.count("| `headrace_") > 15


def test_the_dashboard_asks_for_metrics_that_there_are() -> None:
    known = set(re.findall(r"^\| `(headrace_\w+)`", PAGE.read_text(), re.MULTILINE))

    asked = {_OF_A_HISTOGRAM.sub("", name) for name in re.findall(r"headrace_\w+", DASHBOARD.read_text())}

    assert len(asked) > 8
    assert asked <= known
