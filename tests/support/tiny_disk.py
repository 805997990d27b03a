"""A small file system for one test, which can be full or read-only. It must not know who writes to
it."""

import errno
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest


class TinyDisk:
    """path: where any process of this user finds it, although it is mounted in a namespace of its
    own."""

    def __init__(self, path: Path, holder: int, mounted_at: str) -> None:
        self.path, self._holder, self._mounted_at = path, holder, mounted_at

    def fill(self) -> None:
        """Write until the disk is full."""
        with (self.path / "ballast").open("ab", buffering=0) as file:
            try:
                while True:
                    file.write(b"x" * 4096)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise

    def free(self) -> None:
        (self.path / "ballast").unlink()

    def make_read_only(self) -> None:
        self._remount("ro")

    def make_writable(self) -> None:
        self._remount("rw")

    def _remount(self, mode: str) -> None:
        inside = ["nsenter", f"--target={self._holder}", "--user", "--mount"]
        subprocess.run([*inside, "mount", "-o", f"remount,{mode}", self._mounted_at], check=True)


@cache
def _can_mount() -> bool:
    needed = shutil.which("unshare") and shutil.which("nsenter")
    return bool(needed) and subprocess.call(["unshare", "-Urm", "true"], stderr=subprocess.DEVNULL) == 0


@contextmanager
def tiny_disk(size_kib: int) -> Iterator[TinyDisk]:
    """Skips the test if no namespace can be made."""
    if not _can_mount():
        pytest.skip("no user and mount namespaces here (unshare -Urm)")
    with tempfile.TemporaryDirectory(prefix="hr-") as folder:
        # The shell ends when its standard input is closed, and the mount ends with it.
        script = f'mount -t tmpfs -o size={size_kib}k tmpfs "{folder}" && echo ready && exec cat'
        command = ["unshare", "-Urm", "sh", "-c", script]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
            try:
                assert holder.stdout is not None
                assert holder.stdout.readline() == b"ready\n"
                yield TinyDisk(Path(f"/proc/{holder.pid}/root{folder}"), holder.pid, folder)
            finally:
                holder.kill()
