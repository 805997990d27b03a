"""A worker that is stopped past its lease and then continues: whatever it does, the newest attempt
decides."""

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
from shared_schemas.events import Emitted, Reason, StateChanged
from shared_schemas.ids import JobId
from shared_schemas.job import JobState
from shared_schemas.stream.recovery import Recovery
from worker_runtime.instrument import QueueObserver
from worker_runtime.reclaiming import Reclaiming

from tests.support.queue_bench import QueueBench, queue_bench
from tests.support.worker_process import say, worker_process
from tests.support.workers import ScriptedHandler, running_worker, success

LEASE_S = 1.0
STANDSTILLS = ["before_record", "after_record", "before_settle"]
quick_at_the_end = [*STANDSTILLS[:2], pytest.param(STANDSTILLS[2], marks=pytest.mark.quick)]


@asynccontextmanager
async def reclaiming(side: QueueBench) -> AsyncIterator[None]:
    """The duty that reclaims the jobs of dead workers, without a worker that would run them."""
    async with anyio.create_task_group() as group:
        group.start_soon(
            Reclaiming(Recovery(side.nodes, side.queue), QueueObserver(), worker="nobody", lease_s=LEASE_S).run
        )
        yield
        group.cancel_scope.cancel()


async def until_lost(side: QueueBench, job_id: JobId) -> None:
    await side.until(
        job_id, lambda event: isinstance(event, StateChanged) and event.reason is Reason.WORKER_LOST, deadline_s=30
    )


def chunks(events: list[object]) -> list[str]:
    return [event.chunk for event in events if isinstance(event, Emitted)]


@pytest.mark.fault(
    "workers",
    "SIGSTOP of a worker past its lease, SIGCONT before the second attempt",
    sees="the writes of the first worker are refused",
)
@pytest.mark.parametrize("standstill", quick_at_the_end)
async def test_a_zombie_that_wakes_before_the_second_attempt_writes_nothing_for_the_first(
    redis_url: str, standstill: str
) -> None:
    async with queue_bench(redis_url) as side:
        job_id = await side.submit()
        with worker_process(redis_url, "say", lease_s=LEASE_S, armed=("stop", standstill)) as zombie:
            async with reclaiming(side):
                await until_lost(side, job_id)
            before = await side.events(job_id)
            zombie.send_signal(signal.SIGCONT)
            # It is the only worker, so it runs the second attempt itself.
            job = await side.done(job_id)
            after = (await side.events(job_id))[len(before) :]

    assert (job.state, job.attempt, bytes(job.result)) == (JobState.SUCCEEDED, 2, b"2")
    assert {event.attempt for event in after} == {2}


@pytest.mark.fault(
    "workers",
    "SIGSTOP of a worker past its lease, SIGCONT during the second attempt",
    sees="the result of the second attempt",
)
@pytest.mark.parametrize("standstill", quick_at_the_end)
async def test_a_zombie_that_wakes_during_the_second_attempt_cannot_disturb_it(redis_url: str, standstill: str) -> None:
    goes_on = anyio.Event()

    async def wait(attempt: object) -> object:
        await attempt.record(Emitted(chunk="second"))  # type: ignore[attr-defined]
        await goes_on.wait()
        return success("of the second")

    async with queue_bench(redis_url) as side:
        job_id = await side.submit()
        with worker_process(redis_url, "say", lease_s=LEASE_S, armed=("stop", standstill)) as zombie:
            await side.until_state(job_id, JobState.RUNNING)
            async with running_worker(redis_url, ScriptedHandler(wait), lease_s=LEASE_S, slots=1):
                await side.until(job_id, lambda event: getattr(event, "chunk", None) == "second", deadline_s=30)
                zombie.send_signal(signal.SIGCONT)
                # Once the zombie has run another job to its end, it has finished with the old one.
                await side.done(await side.submit())
                goes_on.set()
                job = await side.done(job_id)
                events = await side.events(job_id)

    assert (job.state, job.attempt, bytes(job.result)) == (JobState.SUCCEEDED, 2, b'"of the second"')
    assert chunks(events)[-1] == "second"
    assert [event.attempt for event in events] == sorted(event.attempt for event in events)


@pytest.mark.fault(
    "workers", "SIGSTOP of a worker past its lease, SIGCONT after the second attempt", sees="the result does not change"
)
@pytest.mark.parametrize("standstill", quick_at_the_end)
async def test_a_zombie_that_wakes_after_the_end_changes_nothing(redis_url: str, standstill: str) -> None:
    async with queue_bench(redis_url) as side:
        job_id = await side.submit()
        with worker_process(redis_url, "say", lease_s=LEASE_S, armed=("stop", standstill)) as zombie:
            await side.until_state(job_id, JobState.RUNNING)
            async with running_worker(redis_url, ScriptedHandler(say), lease_s=LEASE_S):
                job = await side.done(job_id, deadline_s=30)
                ended_with = await side.events(job_id)
            zombie.send_signal(signal.SIGCONT)
            await side.done(await side.submit())

        assert await side.events(job_id) == ended_with
        assert await side.folded(job_id) == job
        assert await side.pending() == 0
    assert (job.state, job.attempt, bytes(job.result)) == (JobState.SUCCEEDED, 2, b"2")
