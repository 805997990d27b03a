"""docs/surprises.md lists every script of findings/, and each script can be run by itself. Nothing
is installed here."""

import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted((ROOT / "findings").glob("*.sh"))


def test_the_page_lists_every_script_and_no_other() -> None:
    named = set(re.findall(r"^  Script: `(\w+)`$", (ROOT / "docs/surprises.md").read_text(), re.MULTILINE))

    assert named == {script.stem for script in SCRIPTS}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_script_says_when_it_was_seen_and_pins_what_it_installs(script: Path) -> None:
    text = script.read_text()
    installed = re.findall(r"(?:uv pip install|npm install)(.*)", text)

    assert os.access(script, os.X_OK)
    assert re.search(r"^# Seen 20\d\d-\d\d-\d\d with ", text, re.MULTILINE)
    assert "mktemp -d" in text
    assert all(re.search(r"==\d|@\d", line) for line in installed)
