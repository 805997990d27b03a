"""Measures how long it takes until all jobs of dead workers run again. The time starts with the
death of the workers and ends when the last job begins, by the clock of Redis."""

from collections.abc import Sequence
from contextlib import ExitStack

import anyio
from shared_schemas.ids import JobId
from shared_schemas.job import Job, JobState
from shared_schemas.stream import keys
from shared_schemas.stream.keys import GROUP, Lane
from shared_schemas.stream.queue_queries import QueueQueries

from tests.support.worker_process import worker_process
from tests.support.workers import INFERENCE, Bench, a_submission, bench

_POLL_S = 0.05
_AT_ONCE = 500


async def seconds_until_run_again(
    redis_url: str, *, workers: int, slots: int, lease_s: float, deadline_s: float
) -> tuple[float, list[Job]]:
    """Kill `workers` workers at once, each with all slots taken, while as many others wait. ->
    seconds until the last of their jobs runs again, and all jobs after their end"""
    async with bench(redis_url) as side:
        ids = await _submitted(side, workers * slots)
        with ExitStack() as alive:
            doomed = [
                alive.enter_context(worker_process(redis_url, "hang", lease_s=lease_s, slots=slots))
                for _ in range(workers)
            ]
            await _until(side.queue_queries, JobState.RUNNING, len(ids), deadline_s)
            # The other workers start before, because the time that a process takes to start is not measured.
            for _ in range(workers):
                alive.enter_context(worker_process(redis_url, "answer", lease_s=lease_s, slots=slots))
            await side.until_workers(2 * workers, deadline_s=deadline_s)
            for process in doomed:
                process.kill()
            died_ms = await _now_ms(side)
            return await _recovered(side, ids, died_ms, deadline_s)


async def seconds_until_begun(
    redis_url: str, *, n_jobs: int, lease_s: float, deadline_s: float
) -> tuple[float, list[Job]]:
    """The same for jobs that were delivered to a consumer which never began them."""
    async with bench(redis_url) as side:
        ids = await _submitted(side, n_jobs)
        ready = keys.ready(INFERENCE, Lane.NORMAL)
        await side.client.xgroup_create(ready, GROUP, id="0")
        await side.client.xreadgroup(GROUP, "gone", {ready: ">"}, count=n_jobs)
        handed_ms = await _now_ms(side)
        with worker_process(redis_url, "answer", lease_s=lease_s, slots=64):
            return await _recovered(side, ids, handed_ms, deadline_s)


async def _submitted(side: Bench, n: int) -> list[JobId]:
    ids = []
    for first in range(0, n, _AT_ONCE):
        made = await side.submitter.submit_all(INFERENCE, [a_submission() for _ in range(min(_AT_ONCE, n - first))])
        ids += [each.job_id for each in made]
    return ids


async def _recovered(side: Bench, ids: Sequence[JobId], since_ms: int, deadline_s: float) -> tuple[float, list[Job]]:
    await _until(side.queue_queries, JobState.SUCCEEDED, len(ids), deadline_s)
    jobs = [await side.jobs.find(job_id) for job_id in ids]
    began_ms = [job.started_at.timestamp() * 1000 for job in jobs if job.started_at is not None]
    return (max(began_ms) - since_ms) / 1000, jobs


async def _until(queue_queries: QueueQueries, state: JobState, n: int, deadline_s: float) -> None:
    with anyio.fail_after(deadline_s):
        while (await queue_queries.status(INFERENCE)).jobs[state] < n:  # noqa: ASYNC110 - no event tells of many jobs
            await anyio.sleep(_POLL_S)


async def _now_ms(side: Bench) -> int:
    seconds, microseconds = await side.client.time()
    return int(seconds * 1000 + microseconds // 1000)
