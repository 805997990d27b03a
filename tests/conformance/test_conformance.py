"""The scenarios of this folder hold on the Redis of the tests. run.py runs them without anything of Headrace."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from shared_schemas.stream.bundle import bundle
from shared_schemas.stream.linking import OF_REGISTRY, names

from tests.support.gateways import ROOT

FOLDER = ROOT / "tests" / "conformance"
FILES = sorted(FOLDER.glob("*.json"))
SCENARIOS = [scenario for file in FILES for scenario in json.loads(file.read_text())]
# What a worker and whoever takes over from it must do alike.
COVERED = {"submit", "claim", "record", "renew", "settle", "request_cancel", "request_pause", "resume", "reclaim"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_scenarios_hold(redis_url: str, file: Path, tmp_path: Path) -> None:
    made = tmp_path / "bundle.json"
    made.write_text(json.dumps(bundle()))
    command = [sys.executable, str(FOLDER / "run.py"), str(made), redis_url, str(file)]

    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("ok ") == len(json.loads(file.read_text()))


def test_every_script_of_a_worker_has_scenarios() -> None:
    steps: list[dict[str, Any]] = [step for scenario in SCENARIOS for step in scenario["steps"]]

    assert {step["call"] for step in steps} >= COVERED
    assert len({scenario["name"] for scenario in SCENARIOS}) == len(SCENARIOS) > 30


def test_a_scenario_that_says_otherwise_fails(redis_url: str, tmp_path: Path) -> None:
    [scenario] = [each for each in SCENARIOS if each["name"] == "a stale fence ends nothing"]
    scenario["steps"][-2]["answer"] = []
    made, wrong = tmp_path / "bundle.json", tmp_path / "wrong.json"
    made.write_text(json.dumps(bundle()))
    wrong.write_text(json.dumps([scenario]))
    command = [sys.executable, str(FOLDER / "run.py"), str(made), redis_url, str(wrong)]

    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    assert done.returncode != 0
    assert "a stale fence ends nothing, step 3: settle is [1] and not []" in done.stderr


def test_the_bundle_has_each_script_behind_the_prelude_that_it_needs() -> None:
    folder = ROOT / "shared-schemas/src/shared_schemas/stream/lua"
    signs = ("'staged:'", "'published:'", "'wanted'", "model_key(", "version_key(", "publish(")
    texts = {name: (folder / f"{name}.lua").read_text() for name in names()}

    assert {name for name, text in texts.items() if any(sign in text for sign in signs)} == OF_REGISTRY
