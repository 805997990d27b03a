"""A wall clock that a test can step, a disk that it can stall and processes and threads that it can refuse, for a
process that it starts.

The process is started with `Shim.environment`; what the test orders holds from the process' next call. Skips where
there is no compiler. Knows neither Redis nor workers.
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
    """One process' clock and disk. Each order replaces the one before of its sort."""

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
        """How far the process' wall clock is ahead of the true one."""
        self._offset_s = offset_s
        self._write()

    def stall_fsync(self, seconds: float) -> None:
        self._stall_s = seconds
        self._write()

    def fail_fsync(self, error: int) -> None:
        """error: an errno; 0 heals it."""
        self._error = error
        self._write()

    def fail_tasks(self, error: int) -> None:
        """Of new processes and threads. error: an errno; 0 heals it."""
        self._task_error = error
        self._write()

    def _write(self) -> None:
        orders = _ORDERS.pack(round(self._offset_s * 1e6), round(self._stall_s * 1e6), self._error, self._task_error)
        # In place: the process has mapped this very file.
        with self._path.open("r+b" if self._path.exists() else "wb") as file:
            file.write(orders)


def can_compile() -> bool:
    return shutil.which("cc") is not None


@cache
def library() -> Path:
    """The compiled shim, made once for each version of its source. Skips the test where it cannot be made."""
    if not can_compile():
        pytest.skip("no C compiler (cc) to make the clock shim with")
    digest = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]
    made = Path(tempfile.gettempdir()) / f"headrace-clock-shim-{digest}.so"
    if not made.exists():
        # Two test processes may get here at once: each compiles beside the place and renames.
        with tempfile.NamedTemporaryFile(dir=made.parent, suffix=".so", delete=False) as target:
            subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", target.name, str(SOURCE)], check=True)
        Path(target.name).rename(made)
    return made
