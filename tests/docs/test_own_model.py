"""The commands of docs/own-model.md publish a model, in order."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from tests.docs.test_blocks import ENVIRONMENT, SHELL
from tests.support.gateways import ROOT
from tests.support.onnx_tensors import identity
from tests.support.pages import blocks
from tests.support.publishing import publishing_system

PAGE = ROOT / "docs/own-model.md"
# The blocks import PyTorch twice.
DEADLINE_S = 240
MARK = "run by tests/docs/test_own_model.py"


@pytest.mark.timeout(300)
def test_the_commands_of_the_page_publish_a_model(redis_url: str, tmp_path: Path) -> None:
    model = identity("float32", ("rows", 3))
    # So that an upload can go on at byte 700.
    model += b"\x32" + b"\x80\x08" + bytes(1024)
    (tmp_path / "model.onnx").write_bytes(model)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    shown = [block for block in blocks(PAGE) if block.mark == MARK]

    with publishing_system(redis_url, tmp_path) as gateway:
        script = "\n".join(
            block.text if block.language == "sh" else f"python - <<'END'\n{block.text}END" for block in shown
        )
        for name in ("127.0.0.1:8000", "localhost:8000"):
            script = script.replace(name, gateway.url.removeprefix("http://"))
        done = subprocess.run(
            ["bash", "-c", SHELL + script],
            env=ENVIRONMENT | {"PATH": path, "HEADRACE_URL": gateway.url},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
        )

    assert done.returncode == 0, (done.stdout, done.stderr)
    assert len(shown) == 12
    assert (tmp_path / "copy.onnx").read_bytes() == (tmp_path / "own.onnx").read_bytes() == model
    printed = done.stdout.replace("}{", "}\n{").splitlines()
    job = next(msgspec.json.decode(line) for line in printed if '"job_id":"publishing-' in line)
    assert job["result"]["model"] == "own@3"
