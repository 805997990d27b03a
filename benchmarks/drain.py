"""Drain: no-op jobs run by one worker process that keeps their results, and how fast jobs were stored before that.

The time runs from the first to the last execution, in the worker. CPU and memory are those of the worker and of Redis.
The bytes of a job are what Redis keeps after the job has ended, including its payload of 100 bytes. They do not include
the log of all jobs, whose size is limited.
"""

import time
from pathlib import Path

import msgspec
import psutil
from shared_schemas.stream import keys

from benchmarks.checking import INFERENCE, check_history
from benchmarks.contestants import HEADRACE, RAW, Contestant, peers
from benchmarks.measuring import Column, Figures, Found, Table, alternate, table
from benchmarks.server import Bench, bench_redis

DEADLINE_S = 120.0
WITHOUT_AOF = msgspec.structs.replace(HEADRACE, name="Headrace, no AOF")


COLUMNS = [
    Column("drained/s", "drain_per_s", kind="spread"),
    Column("ratio", "drain_per_s", kind="inverse"),
    Column("enqueued/s", "enqueue_per_s", kind="spread"),
    Column("ratio", "enqueue_per_s", kind="inverse"),
    Column("worker µs", "worker_us", ".1f"),
    Column("Redis µs", "redis_us", ".1f"),
    Column("worker MiB", "worker_mib"),
    Column("Redis B/job", "redis_bytes"),
]


def run(*, repeats: int, scale: float) -> Found:
    contestants = {contestant.name: contestant for contestant in [HEADRACE, WITHOUT_AOF, RAW, *peers()]}
    return alternate(contestants, lambda contestant: _measure(contestant, scale), repeats=repeats)


def tables(found: Found) -> list[Table]:
    title = "Drain of no-op jobs, one worker process, results kept, AOF everysec"
    return [table(title, found, COLUMNS, base=HEADRACE.name)]


def _measure(contestant: Contestant, scale: float) -> Figures:
    n = max(200, round(contestant.n_jobs * scale))
    with bench_redis("off" if contestant is WITHOUT_AOF else "everysec") as bench:
        bytes_before = bench.used_bytes()
        stored = contestant.call("enqueue", bench.url, n)
        cpu_before, tally = bench.used_cpu_s(), bench.folder / "tally"
        with contestant.working(bench.url, n, tally) as worker:
            if not _has_run_all(tally, worker):
                raise contestant.failed("the worker did not run all jobs")
            pss = worker.memory_full_info().pss
            cpu_of_redis = bench.used_cpu_s() - cpu_before
            if contestant in (HEADRACE, WITHOUT_AOF):
                check_history(bench.url, n)
        first_ns, last_ns, first_cpu_s, last_cpu_s = (float(part) for part in tally.read_text().split())
        return {
            "enqueue_per_s": n / stored["s"],
            "enqueue_us": stored["cpu_s"] * 1e6 / n,
            "drain_per_s": n / (last_ns - first_ns) * 1e9,
            "worker_us": (last_cpu_s - first_cpu_s) * 1e6 / n,
            "worker_mib": pss / 2**20,
            "redis_us": cpu_of_redis * 1e6 / n,
            "redis_bytes": (bench.used_bytes() - bytes_before - _log_bytes(bench)) / n,
        }


def _log_bytes(bench: Bench) -> int:
    """The size of the log of all jobs, which keeps a hundred thousand changes at most."""
    return int(bench.client.memory_usage(keys.log(INFERENCE), samples=0) or 0)


def _has_run_all(tally: Path, worker: psutil.Process) -> bool:
    end = time.monotonic() + DEADLINE_S
    # Nothing announces the file, and polling often would take the worker's core.
    while not tally.exists():
        if time.monotonic() > end or not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE:
            return False
        time.sleep(0.05)
    return True
