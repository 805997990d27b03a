"""Each file of docs/examples is run: those that are tests here, the others elsewhere."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
TESTS = sorted(EXAMPLES.glob("test_*.py"))
# In test_embeddings.py, and in test_example_worker.py.
RUN_ELSEWHERE = {"export_minilm.py", "protocol.py", "worker.py"}


def test_every_example_is_run_by_a_test() -> None:
    assert {file.name for file in EXAMPLES.glob("*.py")} == {file.name for file in TESTS} | RUN_ELSEWHERE


@pytest.mark.parametrize("example", TESTS, ids=lambda file: file.stem)
def test_an_example_that_is_a_test_passes_outside_of_this_repository(example: Path, tmp_path: Path) -> None:
    settings = tmp_path / "pytest.ini"
    settings.write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-q", "-c", str(settings), "-p", "no:cacheprovider", str(example)]

    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout[-3000:]


def test_without_headrace_local_the_error_says_what_to_install() -> None:
    code = "import sys; sys.modules['headrace_local'] = None; import headrace.testing"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert done.stderr.strip().endswith("not installed: pip install headrace-local")
