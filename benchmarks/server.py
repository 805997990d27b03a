"""A Redis for each measurement, on loopback TCP, as most people connect to theirs."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import redis
from headrace_local.redis_server import TUNING
from headrace_local.system import free_port

from tests.support.redis_server import running_redis


class Bench(NamedTuple):
    """folder: for files of the measurement. It is removed at the end."""

    url: str
    client: "redis.Redis[bytes]"
    folder: Path

    def used_cpu_s(self) -> float:
        info = self.client.info("cpu")
        return float(info["used_cpu_user"] + info["used_cpu_sys"])

    def used_bytes(self) -> int:
        return int(self.client.info("memory")["used_memory"])


@contextmanager
def bench_redis(appendfsync: str = "everysec") -> Iterator[Bench]:
    """Redis with the options of `headrace up`, for every contestant. appendfsync: off means no
    append-only file."""
    port = free_port()
    persistence = ("--appendonly", "no") if appendfsync == "off" else ("--appendfsync", appendfsync)
    with (
        tempfile.TemporaryDirectory(prefix="hr-bench-") as name,
        running_redis(Path(name), options=("--port", str(port), *persistence, *TUNING)),
        redis.Redis.from_url(f"redis://127.0.0.1:{port}/0", protocol=2) as client,
    ):
        yield Bench(f"redis://127.0.0.1:{port}/0", client, Path(name))


def redis_version() -> str:
    with bench_redis() as bench:
        return str(bench.client.info("server")["redis_version"])
