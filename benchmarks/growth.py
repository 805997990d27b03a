"""Growth: what a job and an event cost after much history, in a long queue, late in a timeline, and with more workers.

This is about Headrace alone: its cost should stay the same. The workers share the cores of the machine with Redis. The
time that Redis needs per job therefore tells whether more workers could do more on a larger machine.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial

import anyio
import msgspec
from shared_schemas.events import Logged
from shared_schemas.ids import JobId, QueueName, default_queue, new_job_id
from shared_schemas.job import JobState
from shared_schemas.kinds import JobKind
from shared_schemas.specs import InferenceSpec, TrainingSpec
from shared_schemas.stream import keys
from shared_schemas.stream.packed_job import parts_as_text
from shared_schemas.stream.queue_queries import QueueQueries
from shared_schemas.stream.submission import Submission, Submitter
from shared_schemas.stream.timeline import Timeline

from benchmarks.contestants import HEADRACE
from benchmarks.history import copy_job
from benchmarks.measuring import Column, Figures, Found, Table, alternate, percentile, table
from benchmarks.server import bench_redis
from tests.support.gateways import Driver, driver

INFERENCE, TRAINING = default_queue(JobKind.INFERENCE), default_queue(JobKind.TRAINING)
N_JOBS, N_LONG_QUEUE, N_HISTORY = 40_000, 100_000, 1_000_000
N_ROUND_TRIPS, WARM_UP = 600, 100
AT_ONCE = 500
DEADLINE_S = 180.0
EVENTS_BEFORE = (20, 1_000, 100_000)
N_EVENTS = 2_000


class Case(msgspec.Struct, frozen=True):
    """n_jobs: jobs to drain. n_history: finished jobs that are kept. n_elsewhere: jobs in a queue
    without workers, during the round trips."""

    name: str
    n_jobs: int = N_JOBS
    n_history: int = 0
    n_elsewhere: int = 0
    n_workers: int = 1


CASES = [
    Case("nothing before"),
    Case(f"{N_HISTORY:,} finished jobs kept", n_history=N_HISTORY),
    Case(f"{N_LONG_QUEUE:,} jobs queued", n_jobs=N_LONG_QUEUE, n_elsewhere=N_LONG_QUEUE),
    Case("2 workers", n_workers=2),
    Case("4 workers", n_workers=4),
]


EVENT_CASES = {f"{n:,} events before": n for n in EVENTS_BEFORE}
JOB_COLUMNS = [
    Column("drained/s", "drain_per_s", kind="spread"),
    Column("Redis µs/job", "redis_us", ".1f"),
    Column("vs first row", "redis_us", kind="ratio"),
    Column("round trip ms", "round_trip_ms", ".3f"),
    Column("vs first row", "round_trip_ms", kind="ratio"),
]
EVENT_COLUMNS = [
    Column("Redis µs", "redis_us", ".1f", "spread"),
    Column("vs first row", "redis_us", kind="ratio"),
    Column("ms", "event_ms", ".3f"),
]


def run(*, repeats: int, scale: float) -> Found:
    cases = {case.name: case for case in CASES}
    jobs = alternate(cases, lambda case: anyio.run(_measure_jobs, case, scale), repeats=repeats)
    return jobs | alternate(EVENT_CASES, lambda n: anyio.run(_measure_events, n, scale), repeats=repeats)


def tables(found: Found) -> list[Table]:
    jobs = {case.name: found[case.name] for case in CASES}
    events = {name: found[name] for name in EVENT_CASES}
    return [
        table("A job", jobs, JOB_COLUMNS, base=CASES[0].name),
        table("An event, recorded by itself", events, EVENT_COLUMNS, base=next(iter(EVENT_CASES))),
    ]


async def _measure_jobs(case: Case, scale: float) -> Figures:
    n = _scaled(case.n_jobs, scale)
    with bench_redis() as bench, ExitStack() as workers:
        async with driver(bench.url) as drive:
            if case.n_history:
                [template] = await _submit(drive.submitter, INFERENCE, 1)
                await drive.finish(template)
                await copy_job(drive.client, template, _scaled(case.n_history, scale))
            ids = await _submit(drive.submitter, INFERENCE, n)
            cpu_before = bench.used_cpu_s()
            for i in range(case.n_workers):
                workers.enter_context(HEADRACE.working(bench.url, n, bench.folder / f"tally-{i}"))
            await _until_drained(drive.queue_queries)
            redis_us = (bench.used_cpu_s() - cpu_before) * 1e6 / n
            drained_per_s = n / await _took_s(drive, ids)
            await _submit(drive.submitter, TRAINING, _scaled(case.n_elsewhere, scale) if case.n_elsewhere else 0)
        n_trips = _scaled(N_ROUND_TRIPS, scale)
        took = await anyio.to_thread.run_sync(partial(HEADRACE.call, "round_trips", bench.url, n_trips + WARM_UP))
    return {
        "drain_per_s": drained_per_s,
        "redis_us": redis_us,
        "round_trip_ms": percentile(took["ms"][WARM_UP:], 0.5),
    }


def _scaled(n: int, scale: float) -> int:
    return max(100, round(n * scale))


async def _submit(submitter: Submitter, queue: QueueName, n: int) -> list[JobId]:
    now_ms = time.time_ns() // 1_000_000
    ids = [new_job_id(queue, now_ms=now_ms, entropy=i.to_bytes(10)) for i in range(n)]
    spec = (
        InferenceSpec(model_id="noop@1", input_data="x" * 100)
        if queue == INFERENCE
        else TrainingSpec(model_type="mlp", data_path="none.csv", seed=1)
    )
    for some in _parts(ids):
        await submitter.submit_all(queue, [Submission(job_id=job_id, spec=spec) for job_id in some])
    return ids


def _parts(ids: Sequence[JobId]) -> Iterator[Sequence[JobId]]:
    return (ids[start : start + AT_ONCE] for start in range(0, len(ids), AT_ONCE))


async def _until_drained(queue_queries: QueueQueries) -> None:
    with anyio.fail_after(DEADLINE_S):
        while True:
            jobs = (await queue_queries.status(INFERENCE)).jobs
            if not jobs[JobState.QUEUED] + jobs[JobState.RUNNING]:
                return
            # Reading the events of all jobs would take the time that is measured.
            await anyio.sleep(0.1)


async def _took_s(drive: Driver, ids: Sequence[JobId]) -> float:
    """Seconds from the first begin to the last end. RuntimeError unless each job has run once and
    succeeded."""
    started, finished = list[int](), list[int]()
    for some in _parts(ids):
        pipeline = drive.client.pipeline(transaction=False)
        for job_id in some:
            pipeline.hget(keys.job(job_id), "job")
        for data in await pipeline.execute():
            parts = parts_as_text(data)
            if (parts.get("state"), parts.get("attempt")) != (JobState.SUCCEEDED, "1"):
                raise RuntimeError(f"a job is {parts.get('state')} after {parts.get('attempt')} attempts")
            started.append(int(parts["started"]))
            finished.append(int(parts["finished"]))
    return max(1, max(finished) - min(started)) / 1000


async def _measure_events(n_before: int, scale: float) -> Figures:
    """Record events one at a time."""
    n = _scaled(N_EVENTS, scale)
    with bench_redis() as bench:
        async with driver(bench.url) as drive:
            [job_id] = await _submit(drive.submitter, INFERENCE, 1)
            claim = await drive.begin(job_id)
            event = Logged(line="x" * 50)
            for start in range(0, n_before, AT_ONCE):
                await drive.record(claim, *[event] * min(AT_ONCE, n_before - start), first=start)
            cpu_before, began = bench.used_cpu_s(), time.perf_counter()
            for i in range(n):
                await drive.record(claim, event, first=n_before + i)
            took_s, cpu_s = time.perf_counter() - began, bench.used_cpu_s() - cpu_before
            # Two more events: the job was queued and claimed.
            _, last = await Timeline(drive.nodes).bounds(job_id)
            if last != n_before + n + 2:
                raise RuntimeError(f"the timeline ends at {last}")
    return {"event_ms": took_s * 1000 / n, "redis_us": cpu_s * 1e6 / n}
