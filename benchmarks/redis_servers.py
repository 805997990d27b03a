"""The start time and the memory of Redis and Valkey servers.

    uv run python -m benchmarks.redis_servers PATH PATH ... [--repeats 20]

The servers take turns, so that other load on the machine slows all of them. Each is started as
`headrace up` starts it, on an empty folder. `loaded` is the resident memory after 20,000 hashes of
the size of a queued job, and `after` is that after their deletion. `CPU us` is the processor time
to write one of them. The figures are medians.
"""

import argparse
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import redis
from headrace_local.redis_server import RedisBinary, answers, command

N_JOBS, JOB_BYTES, AT_ONCE = 20_000, 600, 1_000
# Much shorter than any start.
ASK_EVERY_S = 0.0005
COLUMNS = ("start ms", "empty MiB", "loaded MiB", "after MiB", "CPU us")


@contextmanager
def running(path: str) -> Iterator[tuple[psutil.Process, "redis.Redis[bytes]", float]]:
    """Yields the process, a client of it, and how many milliseconds the start took."""
    with tempfile.TemporaryDirectory(prefix="hr-") as name:
        unix_socket = Path(name) / "redis.sock"
        began = time.perf_counter()
        server = subprocess.Popen(
            command(RedisBinary("", path, ""), folder=Path(name), unix_socket=unix_socket), stderr=subprocess.DEVNULL
        )
        try:
            while not answers(unix_socket):
                if server.poll() is not None:
                    raise RuntimeError(f"{path} ended with {server.returncode}")
                time.sleep(ASK_EVERY_S)
            took_ms = (time.perf_counter() - began) * 1000
            with redis.Redis(unix_socket_path=str(unix_socket), protocol=2) as client:
                yield psutil.Process(server.pid), client, took_ms
        finally:
            server.terminate()
            server.wait()


def measure(path: str) -> tuple[float, ...]:
    with running(path) as (process, client, took_ms):
        empty = process.memory_info().rss
        cpu = process.cpu_times()
        busy_s = cpu.user + cpu.system
        for first in range(0, N_JOBS, AT_ONCE):
            pipeline = client.pipeline(transaction=False)
            for n in range(first, first + AT_ONCE):
                pipeline.hset(f"job:{n}", mapping={"job": "x" * JOB_BYTES, "events": "y" * (JOB_BYTES // 4)})
            pipeline.execute()
        cpu = process.cpu_times()
        write_us = (cpu.user + cpu.system - busy_s) * 1e6 / N_JOBS
        loaded = process.memory_info().rss
        for first in range(0, N_JOBS, AT_ONCE):
            client.delete(*(f"job:{n}" for n in range(first, first + AT_ONCE)))
        after = process.memory_info().rss
    return took_ms, empty / 2**20, loaded / 2**20, after / 2**20, write_us


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.redis_servers", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("paths", nargs="+", metavar="PATH", help="a redis-server or valkey-server")
    parser.add_argument("--repeats", type=int, default=20)
    given = parser.parse_args()
    found: dict[str, list[tuple[float, ...]]] = {path: [] for path in given.paths}
    for _ in range(given.repeats):
        for path, rows in found.items():
            rows.append(measure(path))
    print("".join(f"{column:>12}" for column in COLUMNS))
    for path, rows in found.items():
        figures = (statistics.median(values) for values in zip(*rows, strict=True))
        print("".join(f"{figure:>12.1f}" for figure in figures), path)


if __name__ == "__main__":
    main()
