"""Runs a script of tests/references, which writes what another library answers. It installs what it needs."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.gateways import ROOT

LONGEST_S = 900.0


def written_by(script: str, folder: Path) -> Path:
    """-> the folder, with what the script wrote"""
    if shutil.which("uv") is None:
        pytest.skip("uv runs the script")
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    command = ["uv", "run", "--script", script, str(folder)]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=LONGEST_S)
    return folder
