"""The invariants of ARCHITECTURE.md about imports, checked by import-linter's contracts and by real
imports."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from shared_schemas.job import JobState

ROOT = Path(__file__).parents[2]


def test_every_import_contract_is_kept() -> None:
    lint_imports = Path(sys.executable).with_name("lint-imports")

    report = subprocess.run([lint_imports, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)

    assert report.returncode == 0, report.stdout[-3000:]


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("shared_schemas", {"redis", "anyio", "shared_schemas.service", "shared_schemas.stream"}),
        ("gateway.app", {"torch", "onnxruntime", "numpy", "worker_runtime"}),
        ("worker_runtime", {"torch", "onnxruntime", "numpy", "fastapi"}),
        ("inference_worker.__main__", {"torch", "fastapi"}),
        ("recipe_kit.tables", {"torch", "redis", "anyio", "training_worker", "worker_runtime"}),
        ("recipe_kit.trainer", {"redis", "anyio", "structlog", "training_worker", "worker_runtime"}),
        ("training_worker.__main__", {"torch", "onnxruntime", "fastapi"}),
        ("headrace.cli", {"redis", "fastapi", "torch", "numpy", "shared_schemas.stream"}),
    ],
)
def test_importing_a_part_loads_nothing_it_must_not_know(module: str, absent: set[str]) -> None:
    """At run time, lazily imported modules included: the supervisor of training never loads torch."""
    code = f"import sys, {module}; print(*sys.modules)"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert absent & set(done.stdout.split()) == set()


def test_no_source_file_has_more_than_400_lines() -> None:
    too_long = {
        path.relative_to(ROOT).as_posix(): lines
        for folder in ("src", "lua")
        for path in ROOT.glob(f"**/{folder}/**/*")
        if path.suffix in {".py", ".lua"}
        and ".venv" not in path.parts
        and (lines := len(path.read_text().splitlines())) > 400
    }

    assert too_long == {}


def test_no_script_compares_or_writes_a_state_by_its_name() -> None:
    folder = ROOT / "shared-schemas/src/shared_schemas/stream/lua"
    spelled = re.compile(rf"(?:[=~]=|'state',|state\s*=)\s*'({'|'.join(JobState)})'")

    named = {path.name: spelled.findall(path.read_text()) for path in folder.glob("*.lua")}

    assert len(named) > 10
    assert {name: states for name, states in named.items() if states} == {}


def test_only_the_module_of_keys_spells_a_key() -> None:
    spelled = {
        path.relative_to(ROOT).as_posix()
        for path in ROOT.glob("**/src/**/*.py")
        if ".venv" not in path.parts and re.search(r"\{hr[:}]", path.read_text())
    }

    assert spelled == {"shared-schemas/src/shared_schemas/stream/keys.py"}
