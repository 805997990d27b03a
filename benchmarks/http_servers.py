"""The gateway and servers that could replace it. Each is a process on a port, without workers."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import psutil
from shared_schemas.ids import JobId, default_queue, new_job_id
from shared_schemas.kinds import JobKind
from shared_schemas.specs import InferenceSpec
from shared_schemas.stream.submission import Submission

from benchmarks.server import Bench
from tests.support.gateways import MODEL, Gateway, driver

INFERENCE = default_queue(JobKind.INFERENCE)


class Server(msgspec.Struct, frozen=True):
    """name: as in the tables. peer: the name of the server in peers/http_peers.py, or none for the
    gateway."""

    name: str
    peer: str | None = None

    @contextmanager
    def serving(self, bench: Bench) -> Iterator["Served"]:
        gateway = Gateway(bench.url, bench.folder / "server.log")
        if self.peer is not None:
            gateway.module = ["benchmarks.peers.http_peers", self.peer, str(gateway.port), bench.url]
        gateway.start()
        try:
            yield Served(gateway.port, psutil.Process(gateway.pid))
        finally:
            gateway.kill()


class Served(msgspec.Struct, frozen=True):
    port: int
    process: psutil.Process

    def cpu_s(self) -> float:
        times = self.process.cpu_times()
        return float(times.user + times.system)

    def own_bytes(self) -> int:
        return int(self.process.memory_full_info().uss)


GATEWAY = Server("Headrace gateway")


async def publish_model(url: str) -> str:
    """-> the name of the model"""
    async with driver(url) as drive:
        await drive.publish()
    return MODEL


async def running_jobs(url: str, n: int) -> list[JobId]:
    """-> the ids of n running jobs"""
    async with driver(url) as drive:
        ids = [new_job_id(INFERENCE, now_ms=i, entropy=os.urandom(10)) for i in range(n)]
        for start in range(0, n, 200):
            submissions = [
                Submission(job_id=job_id, spec=InferenceSpec(model_id="noop@1", input_data=1))
                for job_id in ids[start : start + 200]
            ]
            await drive.submitter.submit_all(INFERENCE, submissions)
    return ids
