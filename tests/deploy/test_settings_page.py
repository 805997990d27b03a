"""docs/settings.md lists the settings of the Structs and the metrics of the parts."""

import re

import msgspec
import pytest
from shared_schemas.service.settings import from_environ

from tests.support.gateways import ROOT
from tests.support.settings_page import PAGE, PARTS, made

DASHBOARD = ROOT / "deploy/observability/grafana/dashboards/headrace.json"
_OF_A_HISTOGRAM = re.compile(r"_(bucket|sum|count)$")


def test_the_page_lists_every_setting_and_every_metric() -> None:
    text = PAGE.read_text()

    assert made(text) == text, "python -m tests.support.settings_page"
    assert text.count("- **`HEADRACE_") > 30
    assert text.count("- **`headrace_") > 15


# Settings that are lists of something other than names, with a valid value.
LISTS = {
    "cors_origins": ("https://a.example", "http://localhost:3000"),
    "queue_limits": ("inference=10000", "500"),
}


@pytest.mark.parametrize("settings", [settings for settings, _ in PARTS.values()])
def test_every_variable_of_the_page_is_read(settings: type[msgspec.Struct]) -> None:
    given = {
        field.name: LISTS.get(field.name, ("training", "inference-b")) if field.default == () else field.default
        for field in msgspec.structs.fields(settings)
    }
    environ = {
        f"HEADRACE_{name.upper()}": ",".join(value) if isinstance(value, tuple) else str(value)
        for name, value in given.items()
    }

    assert msgspec.structs.asdict(from_environ(settings, prefix="HEADRACE_", environ=environ)) == given


def test_every_metric_of_the_dashboard_exists() -> None:
    known = set(re.findall(r"^- \*\*`(headrace_\w+)`", PAGE.read_text(), re.MULTILINE))

    asked = {_OF_A_HISTOGRAM.sub("", name) for name in re.findall(r"headrace_\w+", DASHBOARD.read_text())}

    assert len(asked) > 8
    assert asked <= known
