"""Idle: what a worker with nothing to do asks of Redis and of the machine."""

import time

import psutil
import redis

from benchmarks.contestants import HEADRACE
from benchmarks.measuring import Column, Figures, Found, Table, alternate, table
from benchmarks.server import bench_redis

SETTLE_S, IDLE_S = 5.0, 30.0
# What the benchmark itself asks to learn the other figures.
OWN_COMMANDS = 2


COLUMNS = [
    Column("Redis commands/s", "commands_per_s", ".2f", "spread"),
    Column("% of a core", "worker_percent", ".2f"),
    Column("Redis' % of a core", "redis_percent", ".2f"),
    Column("MiB", "mib"),
]


def run(*, repeats: int, scale: float) -> Found:
    seconds = IDLE_S * max(scale, 0.1)
    return alternate({"Headrace worker": HEADRACE}, lambda _: _measure(seconds), repeats=repeats)


def tables(found: Found) -> list[Table]:
    return [table("Idle worker", found, COLUMNS)]


def _measure(seconds: float) -> Figures:
    with bench_redis() as bench, HEADRACE.working(bench.url, 1, bench.folder / "tally") as worker:
        # There is no event for a process that has nothing left to do.
        time.sleep(SETTLE_S)
        commands, cpu_s, redis_cpu_s = _commands(bench.client), _cpu_s(worker), bench.used_cpu_s()
        began = time.monotonic()
        time.sleep(seconds)
        took_s = time.monotonic() - began
        return {
            "commands_per_s": (_commands(bench.client) - commands - OWN_COMMANDS) / took_s,
            "worker_percent": (_cpu_s(worker) - cpu_s) / took_s * 100,
            "redis_percent": (bench.used_cpu_s() - redis_cpu_s) / took_s * 100,
            "mib": worker.memory_full_info().pss / 2**20,
        }


def _commands(client: "redis.Redis[bytes]") -> int:
    """Those that scripts call are not counted."""
    return int(client.info("stats")["total_commands_processed"])


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
