"""A driver that shows two GPUs, for processes that a test starts on a machine without one. It stands in only for what
a worker asks before it computes: nothing runs on these GPUs. tests/gpu has the tests on real ones.

Without a C compiler, the test is skipped.
"""

import subprocess
from pathlib import Path

import pytest

from tests.support.shims import can_compile

GIB = 1 << 30
UUIDS = ("GPU-10101010-1010-1010-1010-101010101010", "GPU-11111111-1111-1111-1111-111111111111")
_SOURCE = Path(__file__).with_name("gpu_driver.c")


def two_gpus(folder: Path) -> dict[str, str]:
    """-> what the environment of such a process has besides"""
    if not can_compile():
        pytest.skip("no C compiler (cc) to make the driver with")
    driver = folder / "libcuda.so.1"
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", str(driver), str(_SOURCE)], check=True)
    (folder / "libnvidia-ml.so.1").symlink_to(driver)
    return {"LD_LIBRARY_PATH": str(folder)}
