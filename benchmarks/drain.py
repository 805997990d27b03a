"""Drain: no-op jobs through one worker process, with results kept; and how fast jobs are stored before.

The clock runs from the first to the last execution, in the worker. CPU and memory are the worker's and Redis' own.
"""

import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import psutil

from benchmarks.checking import check_history
from benchmarks.contestants import HEADRACE, RAW, Contestant, peers
from benchmarks.measuring import Figures, alternate, median, show, spread
from benchmarks.server import bench_redis

DEADLINE_S = 120.0
WITHOUT_AOF = msgspec.structs.replace(HEADRACE, name="Headrace, no AOF")


def run(*, repeats: int, scale: float) -> dict[str, object]:
    contestants = [HEADRACE, WITHOUT_AOF, RAW, *peers()]
    found = alternate(contestants, lambda contestant: _measure(contestant, scale), repeats=repeats)
    return _report(contestants, found)


def _measure(contestant: Contestant, scale: float) -> Figures:
    n = max(200, round(contestant.n_jobs * scale))
    with bench_redis("off" if contestant is WITHOUT_AOF else "everysec") as bench:
        bytes_before = bench.used_bytes()
        stored = contestant.call("enqueue", bench.url, n)
        cpu_before, tally = bench.used_cpu_s(), bench.folder / "tally"
        with contestant.working(bench.url, n, tally) as worker:
            _wait_for(tally, worker)
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
            "redis_bytes": (bench.used_bytes() - bytes_before) / n,
        }


def _wait_for(tally: Path, worker: psutil.Process) -> None:
    end = time.monotonic() + DEADLINE_S
    # A file announces nothing, and whoever looks must not take the worker's core.
    while not tally.exists():
        if time.monotonic() > end or not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE:
            raise RuntimeError("the worker did not run all jobs")
        time.sleep(0.05)


def _report(contestants: Sequence[Contestant], found: dict[int, list[Figures]]) -> dict[str, object]:
    ours = found[0]
    rows = []
    for place, contestant in enumerate(contestants):
        theirs = found[place]
        rows.append(
            [
                contestant.name,
                f"{median(theirs, 'drain_per_s'):,.0f} ± {spread(theirs, 'drain_per_s'):.0%}",
                f"{median(ours, 'drain_per_s') / median(theirs, 'drain_per_s'):.2f}",
                f"{median(theirs, 'enqueue_per_s'):,.0f} ± {spread(theirs, 'enqueue_per_s'):.0%}",
                f"{median(ours, 'enqueue_per_s') / median(theirs, 'enqueue_per_s'):.2f}",
                f"{median(theirs, 'worker_us'):.1f}",
                f"{median(theirs, 'redis_us'):.1f}",
                f"{median(theirs, 'worker_mib'):.0f}",
                f"{median(theirs, 'redis_bytes'):,.0f}",
            ]
        )
    columns = ["", "drained/s", "ratio", "enqueued/s", "ratio", "worker µs", "Redis µs", "MiB", "Redis B/job"]
    show("Drain of no-op jobs, one worker process, results kept, AOF everysec", columns, rows)
    return {contestant.name: found[place] for place, contestant in enumerate(contestants)}
