"""docs/settings.md says of each setting what the Structs say, and of each metric what the parts count."""

import re

import msgspec
import pytest
from shared_schemas.settings import from_environ

from tests.support.gateways import ROOT
from tests.support.operations_page import PAGE, PARTS, made

DASHBOARD = ROOT / "deploy/observability/grafana/dashboards/headrace.json"
_OF_A_HISTOGRAM = re.compile(r"_(bucket|sum|count)$")


def test_the_page_is_what_the_settings_and_the_metrics_say() -> None:
    text = PAGE.read_text()

    assert made(text) == text, "python -m tests.support.operations_page"
    assert text.count("- **`HEADRACE_") > 30
    assert text.count("- **`headrace_") > 15


# Of the settings that are lists, those whose parts are no names.
LISTS = {"cors_origins": ("https://a.example", "http://localhost:3000")}


@pytest.mark.parametrize("settings", [settings for settings, _ in PARTS.values()])
def test_every_variable_of_the_page_is_understood(settings: type[msgspec.Struct]) -> None:
    given = {
        field.name: LISTS.get(field.name, ("training", "inference-b")) if field.default == () else field.default
        for field in msgspec.structs.fields(settings)
    }
    environ = {
        f"HEADRACE_{name.upper()}": ",".join(value) if isinstance(value, tuple) else str(value)
        for name, value in given.items()
    }

    assert msgspec.structs.asdict(from_environ(settings, prefix="HEADRACE_", environ=environ)) == given


def test_the_dashboard_asks_for_metrics_that_there_are() -> None:
    known = set(re.findall(r"^- \*\*`(headrace_\w+)`", PAGE.read_text(), re.MULTILINE))

    asked = {_OF_A_HISTOGRAM.sub("", name) for name in re.findall(r"headrace_\w+", DASHBOARD.read_text())}

    assert len(asked) > 8
    assert asked <= known
