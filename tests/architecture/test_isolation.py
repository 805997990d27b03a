"""Each member installed alone, as it is deployed. uv does not stop a member from importing what
only a sibling depends on."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

MEMBERS = {
    "headrace-shared-schemas": ("shared_schemas.codec", {"redis", "torch", "fastapi", "numpy"}),
    "headrace-worker-runtime": ("worker_runtime", {"torch", "onnxruntime", "fastapi", "numpy"}),
    "headrace-gateway": ("gateway.app", {"torch", "onnxruntime", "numpy", "tokenizers"}),
    "headrace-client": ("headrace.cli", {"redis", "fastapi", "torch", "numpy"}),
    "headrace-inference-worker": ("inference_worker.__main__", {"torch", "fastapi"}),
    "headrace-training-worker": ("training_worker.child", {"onnxruntime", "fastapi"}),
    "headrace-recipe-kit": (
        "recipe_kit.trainer",
        {"redis", "structlog", "onnxruntime", "fastapi", "training_worker", "worker_runtime"},
    ),
    "headrace-local": ("headrace_local.commands", set()),
}


@pytest.mark.isolation
@pytest.mark.timeout(600)
@pytest.mark.parametrize("package", sorted(MEMBERS))
def test_a_member_synced_alone_imports_and_brings_nothing_else(package: str, tmp_path: Path) -> None:
    module, absent = MEMBERS[package]
    environment = {**os.environ, "UV_PROJECT_ENVIRONMENT": str(tmp_path / "venv")}
    environment.pop("VIRTUAL_ENV", None)
    sync = ["uv", "sync", "--frozen", "--no-dev", "--quiet", "--package", package]
    subprocess.run(sync, cwd=ROOT, env=environment, check=True, timeout=500)
    python = tmp_path / "venv" / "bin" / "python"

    subprocess.run([python, "-c", f"import {module}"], check=True, cwd=tmp_path, timeout=120)
    probe = f"import importlib.util as u; print(*[m for m in {sorted(absent)!r} if u.find_spec(m)])"
    found = subprocess.run([python, "-c", probe], check=True, cwd=tmp_path, capture_output=True, text=True)

    assert found.stdout.split() == []
