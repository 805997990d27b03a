"""The supervisor stays small: only the child imports heavy libraries."""

import subprocess
import sys

import pytest

HEAVY = {"torch", "onnx", "onnxscript", "tokenizers", "numpy", "safetensors"}


@pytest.mark.parametrize("module", ["handler", "supervision", "__main__"])
def test_the_supervisor_never_imports_what_only_training_needs(module: str) -> None:
    script = f"import sys, training_worker.{module}\nprint(*sorted({HEAVY} & {{*sys.modules}}))"

    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)

    assert printed.stdout.split() == []
