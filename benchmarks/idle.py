"""Idle: what a worker without jobs costs Redis and the machine."""

import time
from itertools import takewhile

import psutil
import redis

from benchmarks.contestants import HEADRACE
from benchmarks.measuring import Column, Figures, Found, Table, alternate, table
from benchmarks.server import bench_redis

SETTLE_S, IDLE_S = 5.0, 30.0


COLUMNS = [
    Column("Redis commands/s", "commands_per_s", ".2f", "spread"),
    Column("worker % of a core", "worker_percent", ".2f"),
    Column("Redis % of a core", "redis_percent", ".2f"),
    Column("worker MiB", "mib"),
]


def run(*, repeats: int, scale: float) -> Found:
    seconds = IDLE_S * max(scale, 0.1)
    return alternate({"Headrace worker": HEADRACE}, lambda _: _measure(seconds), repeats=repeats)


def tables(found: Found) -> list[Table]:
    return [table("Idle worker", found, COLUMNS)]


def _measure(seconds: float) -> Figures:
    with bench_redis() as bench, HEADRACE.working(bench.url, 1, bench.folder / "tally") as worker:
        # Nothing announces that the worker has become idle.
        time.sleep(SETTLE_S)
        cpu_s, redis_cpu_s = _cpu_s(worker), bench.used_cpu_s()
        with redis.Redis.from_url(bench.url, protocol=2) as client, client.monitor() as monitor:
            began = time.monotonic()
            time.sleep(seconds)
            took_s = time.monotonic() - began
            bench.client.echo("end")
            seen = list(takewhile(lambda command: command["command"] != "ECHO end", monitor.listen()))
        return {
            # Commands that scripts call are not the worker's.
            "commands_per_s": sum(command["client_type"] != "lua" for command in seen) / took_s,
            "worker_percent": (_cpu_s(worker) - cpu_s) / took_s * 100,
            "redis_percent": (bench.used_cpu_s() - redis_cpu_s) / took_s * 100,
            "mib": worker.memory_full_info().pss / 2**20,
        }


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
