"""SSE fan-out: many readers that follow one job, a hundred jobs, or as many jobs as there are readers.

Each round publishes one event to each job. The first part has a fixed rate of deliveries per second. It measures the
CPU time per delivery, and the delay from when an event is made until its reader has it. The second part publishes the
next round as soon as all readers have the last one, and measures the highest rate. The alternative runs one XREAD for
each reader, at a rate that it can sustain.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import count

import anyio
import msgspec
import redis.asyncio
from shared_schemas.codec import encoded
from shared_schemas.events import Emitted
from shared_schemas.ids import JobId
from shared_schemas.stream.attempt_writer import AttemptWriter, Batch

from benchmarks.http_load import Arrivals, listen
from benchmarks.http_servers import GATEWAY, INFERENCE, Server, running_jobs
from benchmarks.measuring import Column, Figures, Found, Table, alternate, percentile, table
from benchmarks.server import Bench, bench_redis
from tests.support.gateways import driver

PACE, PEER_PACE = 20_000, 5_000
PACED_S, ROUNDS_AHEAD = 5.0, 4
N_DELIVERIES = 200_000
DEADLINE_S, FIRST_ROUND_S, JOBS_A_CALL = 120.0, 10.0, 200
PEER = Server("one XREAD per reader", "starlette")
UVLOOP = {"use_uvloop": True}

Publish = Callable[[], Awaitable[None]]


class Case(msgspec.Struct, frozen=True):
    server: Server
    readers: int
    jobs: int
    pace: int = PACE

    @property
    def name(self) -> str:
        return f"{self.server.name}, {self.readers:,} readers, {self.jobs:,} jobs"


CASES = [
    *(Case(GATEWAY, readers, jobs) for readers in (1_000, 5_000) for jobs in (1, 100, 1_000)),
    *(Case(PEER, 1_000, jobs, PEER_PACE) for jobs in (1, 1_000)),
]


COLUMNS = [
    Column("delivered/s", "delivered_per_s", kind="spread"),
    Column("fixed/s", "pace_per_s"),
    Column("server µs", "us", ".1f"),
    Column("vs XREAD", "us", kind="ratio"),
    Column("Redis µs", "redis_us", ".1f"),
    Column("p50 ms", "p50_ms", ".1f"),
    Column("p99 ms", "p99_ms", ".1f"),
    Column("KiB/reader", "kib_per_reader", ".1f"),
    Column("Redis connections", "redis_connections"),
]


def run(*, repeats: int, scale: float) -> Found:
    return alternate({case.name: case for case in CASES}, lambda case: _measure(case, scale), repeats=repeats)


def tables(found: Found) -> list[Table]:
    return [table("SSE fan-out: the highest rate, then the cost at a fixed rate", found, COLUMNS, base=CASES[-2].name)]


def _measure(case: Case, scale: float) -> Figures:
    with bench_redis() as bench, case.server.serving(bench) as served:

        async def measured() -> Figures:
            readers = max(case.jobs // 20, round(case.readers * min(1.0, scale * 10)))
            jobs = min(case.jobs, readers)
            ids = await running_jobs(bench.url, jobs)
            async with _publisher(case, bench, ids) as publish:
                requests = [
                    b"GET /jobs/%b/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"
                    % ids[i % jobs].encode()
                    for i in range(readers)
                ]
                before, arrivals = served.own_bytes(), Arrivals()
                listeners = await listen(served.port, requests, arrivals)
                await _first_round(publish, arrivals, readers)
                own, connections = served.own_bytes() - before, bench.client.info("clients")["connected_clients"] - 2
                paced = await _paced(case, scale, publish, arrivals, readers, served.cpu_s, bench.used_cpu_s)
                most = await _most(scale, publish, arrivals, readers)
                for listener in listeners:
                    listener.transport.abort()
            return {
                **paced,
                "pace_per_s": case.pace,
                "delivered_per_s": most,
                "kib_per_reader": own / 1024 / readers,
                "redis_connections": connections,
            }

        return anyio.run(measured, backend_options=UVLOOP)


@asynccontextmanager
async def _publisher(case: Case, bench: Bench, ids: Sequence[JobId]) -> AsyncIterator[Publish]:
    """Yields a function that publishes one event to each job: as its worker would record it, or as
    a stream entry for the peer."""
    if case.server.peer is not None:
        async with redis.asyncio.Redis.from_url(bench.url, protocol=2) as client:

            async def add() -> None:
                pipeline = client.pipeline(transaction=False)
                for job_id in ids:
                    pipeline.xadd(f"peer:events:{job_id}", {"data": b'{"chunk":"%d"}' % time.monotonic_ns()})
                await pipeline.execute()

            yield add
        return
    async with driver(bench.url) as drive:
        claims, n = [await drive.begin(job_id) for job_id in ids], count()
        recorder = AttemptWriter(drive.nodes, INFERENCE)

        async def record() -> None:
            first = next(n)
            for start in range(0, len(claims), JOBS_A_CALL):
                event = encoded(Emitted(chunk=str(time.monotonic_ns())))
                await recorder.record([Batch(claim, first, [event]) for claim in claims[start : start + JOBS_A_CALL]])

        yield record


async def _first_round(publish: Publish, arrivals: Arrivals, readers: int) -> None:
    """Publish until an event has reached all readers: a peer's reader gets its response before it
    starts to read."""
    came = False
    while not came:
        wanted = arrivals.n + readers
        await publish()
        with suppress(TimeoutError):
            await arrivals.until(lambda wanted=wanted: arrivals.n >= wanted, timeout_s=FIRST_ROUND_S)  # type: ignore[misc]
            came = True


async def _paced(
    case: Case,
    scale: float,
    publish: Publish,
    arrivals: Arrivals,
    readers: int,
    cpu_s: Callable[[], float],
    redis_cpu_s: Callable[[], float],
) -> dict[str, float]:
    rounds = max(3, round(case.pace / readers * PACED_S * min(1.0, scale * 10)))
    wanted, begun = arrivals.n + rounds * readers, time.monotonic()
    arrivals.delays_ms.clear()
    cpu, redis_cpu = cpu_s(), redis_cpu_s()
    for n in range(rounds):
        await anyio.sleep(max(0.0, begun + n * readers / case.pace - time.monotonic()))
        await publish()
    await arrivals.until(lambda: arrivals.n >= wanted, timeout_s=DEADLINE_S)
    deliveries = rounds * readers
    return {
        "us": (cpu_s() - cpu) * 1e6 / deliveries,
        "redis_us": (redis_cpu_s() - redis_cpu) * 1e6 / deliveries,
        "p50_ms": percentile(arrivals.delays_ms, 0.5),
        "p99_ms": percentile(arrivals.delays_ms, 0.99),
    }


async def _most(scale: float, publish: Publish, arrivals: Arrivals, readers: int) -> float:
    """Publish some rounds ahead of the last round that all readers have. -> deliveries per second"""
    rounds, first = max(6, round(N_DELIVERIES / readers * min(1.0, scale * 10))), arrivals.n
    begun = time.monotonic()
    for n in range(rounds):
        wanted = first + (n - ROUNDS_AHEAD) * readers
        await arrivals.until(lambda wanted=wanted: arrivals.n >= wanted, timeout_s=DEADLINE_S)  # type: ignore[misc]
        await publish()
    await arrivals.until(lambda: arrivals.n >= first + rounds * readers, timeout_s=DEADLINE_S)
    return rounds * readers / (time.monotonic() - begun)
