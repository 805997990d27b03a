"""The memory of a worker's device, for its registration. Measured on a thread of its own, because a
driver may never answer for a broken GPU, and leases must be renewed all the same. Knows no job.
"""

import threading
import time
from pathlib import Path

import psutil
from shared_schemas.job import DeviceUse
from shared_schemas.service.gpus import Gpu, chosen, used_bytes, visible_gpus
from shared_schemas.service.process import processor
from shared_schemas.service.settings import SettingsRejected

_LEAST_INTERVAL_S = 1.0
# Then it is older than what a reader takes for the present.
_STALE_AFTER = 3
_CGROUPS = Path("/sys/fs/cgroup")


class DeviceUseMonitor(threading.Thread):
    """device: cpu or cuda:N. Of another device, nothing is known."""

    def __init__(self, device: str, *, interval_s: float) -> None:
        super().__init__(name="device use", daemon=True)
        self._device = device
        self._interval_s = max(interval_s, _LEAST_INTERVAL_S)
        self._measured: tuple[float, DeviceUse | None] = (0.0, None)
        self._first, self._ending = threading.Event(), threading.Event()

    def latest(self) -> DeviceUse | None:
        """None if it is not known now."""
        at, use = self._measured
        return use if time.monotonic() - at < _STALE_AFTER * self._interval_s else None

    def wait_for_first(self, timeout_s: float) -> None:
        self._first.wait(timeout_s)

    def end(self) -> None:
        self._ending.set()

    def run(self) -> None:
        while not self._ending.is_set():
            self._measured = (time.monotonic(), measured(self._device))
            self._first.set()
            self._ending.wait(self._interval_s)


def measured(device: str) -> DeviceUse | None:
    """device: cpu or cuda:N; None for another one, and for a GPU that is not there. Blocks."""
    if device == "cpu":
        n_bytes, used = _memory()
        return DeviceUse(
            name="cpu", hardware=processor(), memory_bytes=n_bytes, used_bytes=used, rss_bytes=_rss_bytes()
        )
    gpu = _gpu_of(device)
    if gpu is None:
        return None
    return DeviceUse(
        name=gpu.device,
        hardware=gpu.name,
        uuid=gpu.uuid,
        memory_bytes=gpu.memory_bytes,
        used_bytes=used_bytes(gpu),
        rss_bytes=_rss_bytes(),
    )


def _gpu_of(device: str) -> Gpu | None:
    if device.partition(":")[0] != "cuda":
        return None
    try:
        return chosen(device, visible_gpus())
    except SettingsRejected:
        return None


def _rss_bytes() -> int:
    """Of this process and all that it started."""
    this = psutil.Process()
    total = 0
    for process in (this, *this.children(recursive=True)):
        try:
            total += process.memory_info().rss
        except psutil.Error:  # it has ended meanwhile
            continue
    return total


def _memory() -> tuple[int, int]:
    """-> (in all, in use), of the machine, or of the container if that has a limit of its own."""
    machine = psutil.virtual_memory()
    limits = [limit for group in _groups() if (limit := _number(group / "memory.max")) is not None]
    if not limits or min(limits) >= machine.total:
        return machine.total, machine.total - machine.available
    group = next(group for group in _groups() if _number(group / "memory.max") == min(limits))
    used = (_number(group / "memory.current") or 0) - _reclaimable(group)
    return min(limits), max(0, used)


def _groups() -> list[Path]:
    """The control groups of this process, version 2, the innermost first."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    own = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), None)
    if own is None:
        return []
    innermost = _CGROUPS / own
    return [innermost, *(parent for parent in innermost.parents if parent.is_relative_to(_CGROUPS))]


def _number(path: Path) -> int | None:
    """None for `max`, and for what cannot be read."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _reclaimable(group: Path) -> int:
    """Pages of files that the kernel drops as soon as it needs their memory."""
    try:
        lines = (group / "memory.stat").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("inactive_file ")), 0)
