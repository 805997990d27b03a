"""The processes of a soak: starts, watches, measures and ends them. Each writes its log to a file
of its own.

Knows how to run a part, not which faults happen to it: see conductor.py.
"""

import os
import signal
import subprocess
import sys
from collections import Counter, defaultdict
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import psutil
from headrace_local.system import free_port

from tests.chaos.history import Ended, History, Orphaned, Sampled, Wrote
from tests.chaos.worker import CRASHED

ROOT = Path(__file__).parents[2]
# An environment variable of every process that a soak starts, and so of their children.
MARK = "SOAK_RUN"


class Part:
    """A process that is started again and again under one name. lines: how many lines it has
    logged."""

    def __init__(self, name: str, role: str, command: list[str], environment: dict[str, str], log: Path) -> None:
        self.name, self.role, self.log = name, role, log
        self.url = f"http://127.0.0.1:{environment['HEADRACE_PORT']}" if "HEADRACE_PORT" in environment else ""
        self._command = [sys.executable, "-m", *command]
        bare = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
        self._environment = bare | environment
        self.process: subprocess.Popen[bytes] | None = None
        # Whether it is being ended on purpose, so that nobody else starts it again.
        self.is_ending = False
        self.lines = 0

    @property
    def is_alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        self.is_ending = False
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command, cwd=ROOT, env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def signal(self, number: signal.Signals) -> None:
        if self.is_alive and self.process is not None:
            self.process.send_signal(number)

    def ended_unasked(self) -> Ended | None:
        """The end of a process that was not asked to end, else None."""
        if self.is_ending or self.is_alive or self.process is None:
            return None
        status = self.process.returncode
        return Ended(process=self.name, status=status)

    @property
    def has_crashed_on_purpose(self) -> bool:
        return self.process is not None and self.process.poll() == CRASHED

    def take_log(self) -> list[Wrote]:
        """The warnings and errors since the last call, by second and sort. Empties the file."""
        counts: Counter[tuple[float, str]] = Counter()
        jobs = defaultdict[tuple[float, str], set[str]](set)
        second = 0.0
        for line in self.log.read_bytes().splitlines():
            self.lines += 1
            what, job, level, stamp = _parsed(line)
            second = float(int(stamp)) if stamp else second
            if level in ("debug", "info") or job in jobs[second, what]:
                continue
            if job:
                jobs[second, what].add(job)
            else:
                counts[second, what] += 1
        os.truncate(self.log, 0)
        return [Wrote(process=self.name, wall=at, line=what, count=n) for (at, what), n in sorted(counts.items())]


def gateway(number: int, redis_url: str, folder: Path, mark: str) -> Part:
    environment = {"HEADRACE_REDIS_URL": redis_url, "HEADRACE_PORT": str(free_port()), MARK: mark}
    environment |= {"HEADRACE_LOG_FORMAT": "json", "HEADRACE_DRAIN_S": "3"}
    name = f"gateway-{number}"
    return Part(name, "gateway", ["gateway"], environment, folder / f"{name}.log")


def worker(number: int, redis_url: str, folder: Path, mark: str, *, lease_s: float, slots: int) -> Part:
    environment = {"HEADRACE_REDIS_URL": redis_url, "HEADRACE_LEASE_S": str(lease_s), "HEADRACE_SLOTS": str(slots)}
    environment |= {"HEADRACE_DRAIN_GRACE_S": "2", MARK: mark}
    name = f"worker-{number}"
    command = ["tests.chaos.worker", str(folder / "history.jsonl")]
    return Part(name, "worker", command, environment, folder / f"{name}.log")


def trainer(redis_url: str, folder: Path, mark: str) -> Part:
    """A real training worker, whose data root is folder/data."""
    environment = {"HEADRACE_REDIS_URL": redis_url, "HEADRACE_LEASE_S": "5", "HEADRACE_LOG_FORMAT": "json", MARK: mark}
    environment |= {"HEADRACE_DATA_ROOT": str(folder / "data"), "HEADRACE_ARTIFACTS_ROOT": str(folder / "artifacts")}
    environment |= {"HEADRACE_NICENESS": "0"}
    return Part("trainer-0", "trainer", ["training_worker"], environment, folder / "trainer-0.log")


def cpu_seconds(part: Part) -> float:
    assert part.process is not None
    times = psutil.Process(part.process.pid).cpu_times()
    return float(times.user + times.system)


def measure(part: Part, *, cpu: float, base: bool) -> Sampled:
    assert part.process is not None
    process = psutil.Process(part.process.pid)
    with process.oneshot():
        return Sampled(
            process=part.name,
            role=part.role,
            fds=process.num_fds(),
            threads=process.num_threads(),
            rss_mib=process.memory_info().rss / 2**20,
            cpu=round(cpu, 3),
            base=base,
        )


def note_orphans(history: History, mark: str) -> int:
    """Record and kill each process that still has the mark: it has outlived its parents. -> how
    many."""
    found = 0
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) != mark or process.pid == os.getpid():
                continue
            history.append(Orphaned(command=" ".join(process.cmdline())[:200], pid=process.pid))
            process.kill()
            found += 1
        except psutil.Error:
            continue
    return found


def _parsed(line: bytes) -> tuple[str, str, str, float]:
    """-> (event, job id or empty, level, time). A line that is not JSON, such as one of a
    traceback, is an error."""
    try:
        fields: dict[str, Any] = msgspec.json.decode(line)
        stamp = datetime.fromisoformat(fields["timestamp"]).timestamp()
    except (msgspec.DecodeError, KeyError, TypeError, ValueError):
        return "text: " + line.decode(errors="replace").strip()[:60], "", "error", 0.0
    what = fields["event"] + (f": {fields['message'][:80]}" if fields["event"] == "library_logged" else "")
    return what, fields.get("job_id", ""), fields["level"], stamp
