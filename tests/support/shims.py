"""A wall clock that a test can step, a disk that it can stall, and a limit on processes and
threads, for a process that the test starts.

Start the process with `Shim.environment`. An order of the test takes effect at the next call of the
process. Without a C compiler, the test is skipped. Knows neither Redis nor workers.
"""

import hashlib
import shutil
import struct
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("clock_shim.c")
_ORDERS = struct.Struct("=qqqq")


class Shim:
    """The clock and the disk of one process. Each order replaces the earlier one of its sort."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "shim"
        self._offset_s, self._stall_s, self._error, self._task_error = 0.0, 0.0, 0, 0
        self._write()

    @property
    def environment(self) -> dict[str, str]:
        return {"LD_PRELOAD": str(library()), "SHIM_FILE": str(self._path)}

    @property
    def offset_s(self) -> float:
        return self._offset_s

    def set_clock(self, offset_s: float) -> None:
        """offset_s: how far the process' wall clock is ahead of the true one."""
        self._offset_s = offset_s
        self._write()

    def stall_fsync(self, seconds: float) -> None:
        self._stall_s = seconds
        self._write()

    def fail_fsync(self, error: int) -> None:
        """error: an errno, or 0 for none."""
        self._error = error
        self._write()

    def fail_tasks(self, error: int) -> None:
        """Let new processes and threads fail. error: an errno, or 0 for none."""
        self._task_error = error
        self._write()

    def _write(self) -> None:
        orders = _ORDERS.pack(round(self._offset_s * 1e6), round(self._stall_s * 1e6), self._error, self._task_error)
        # The file is changed in place, because the process has mapped it.
        with self._path.open("r+b" if self._path.exists() else "wb") as file:
            file.write(orders)


def can_compile() -> bool:
    return shutil.which("cc") is not None


@cache
def library() -> Path:
    """The compiled shim, made once for each version of its source. Skips the test if there is no
    compiler."""
    if not can_compile():
        pytest.skip("no C compiler (cc) to make the clock shim with")
    digest = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]
    made = Path(tempfile.gettempdir()) / f"headrace-clock-shim-{digest}.so"
    if not made.exists():
        # Two test processes may do this at once, so each compiles into a file of its own and renames it.
        with tempfile.NamedTemporaryFile(dir=made.parent, suffix=".so", delete=False) as target:
            subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", target.name, str(SOURCE)], check=True)
        Path(target.name).rename(made)
    return made
