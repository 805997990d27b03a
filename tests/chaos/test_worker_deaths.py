"""A worker that is killed between any two steps of an attempt, and what happens to its job."""

import signal

import anyio
import pytest
from shared_schemas.events import Emitted
from shared_schemas.job import JobState

from tests.support.processes import ended
from tests.support.queue_bench import queue_bench
from tests.support.worker_process import say, worker_process
from tests.support.workers import ScriptedHandler, running_worker

LEASE_S = 1.0

# The failpoint where it is killed -> (attempts in all, workers that were lost while they owned the job).
STEPS = {
    "before_claim": (1, 0),
    "after_claim": (2, 1),
    "attempt_begun": (2, 1),
    "before_record": (2, 1),
    "after_record": (2, 1),
    "handler_ended": (2, 1),
    "before_settle": (2, 1),
    "after_settle": (1, 0),
    "attempt_let_go": (1, 0),
}


@pytest.mark.quick
@pytest.mark.fault(
    "workers",
    "kill -9 of a worker between any two steps of an attempt",
    sees="one result; one crash is counted if the attempt had started",
)
@pytest.mark.fault(
    "workers",
    "kill -9 of a worker that has stored a result and has not cleaned up",
    sees="the result stands; nothing runs again",
)
@pytest.mark.parametrize("step", STEPS)
async def test_a_worker_killed_between_two_steps_loses_no_job_and_ends_none_twice(redis_url: str, step: str) -> None:
    async with queue_bench(redis_url) as side:
        job_id = await side.submit()
        with worker_process(redis_url, "say", lease_s=LEASE_S, armed=("kill", step)) as killed:
            assert await ended(killed) == -signal.SIGKILL
        async with running_worker(redis_url, ScriptedHandler(say), lease_s=LEASE_S):
            job = await side.done(job_id)
            chunks = [event.chunk for event in await side.events(job_id) if isinstance(event, Emitted)]

        assert (job.state, job.attempt, job.crashes) == (JobState.SUCCEEDED, *STEPS[step])
        assert bytes(job.result).decode() == str(job.attempt)
        assert chunks[-1] == f"attempt {job.attempt}"
        assert await side.pending() == 0


@pytest.mark.quick
@pytest.mark.fault(
    "workers", "kill -9 of a worker to which an entry was delivered that it has not started", sees="no crash is counted"
)
@pytest.mark.fault(
    "workers",
    "kill -9 of a worker for which Redis started an attempt while it waited",
    sees="one result; one crash is counted",
)
@pytest.mark.parametrize(("step", "charged"), {"entry_delivered": (1, 0), "claimed_ahead": (2, 1)}.items())
async def test_a_job_that_a_worker_waited_for_outlives_it(redis_url: str, step: str, charged: tuple[int, int]) -> None:
    async with queue_bench(redis_url) as side:
        with worker_process(redis_url, "say", lease_s=LEASE_S, armed=("kill", step)) as killed:
            with anyio.fail_after(30):
                # It depends on its start which job finds it waiting. After that it claims ahead.
                while killed.poll() is None:
                    job_id = await side.submit()
                    with anyio.move_on_after(LEASE_S):
                        await side.done(job_id)
        async with running_worker(redis_url, ScriptedHandler(say), lease_s=LEASE_S):
            job = await side.done(job_id)

        assert (job.state, job.attempt, job.crashes) == (JobState.SUCCEEDED, *charged)
        assert await side.pending() == 0


@pytest.mark.quick
@pytest.mark.fault(
    "workers",
    "kill -9 of a worker that has just taken over the entry of a dead worker",
    sees="a third worker takes it; no crash is counted",
)
async def test_an_entry_whose_rescuer_died_is_rescued_again(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        job_id = await side.submit()
        assert await (await side.worker("gone")).wait(timeout_s=1.0)
        with worker_process(redis_url, "say", lease_s=LEASE_S, armed=("kill", "before_redeliver")) as rescuer:
            assert await ended(rescuer) == -signal.SIGKILL
        assert (await side.folded(job_id)).attempt == 0
        async with running_worker(redis_url, ScriptedHandler(say), lease_s=LEASE_S):
            job = await side.done(job_id)

        assert (job.state, job.attempt, job.crashes) == (JobState.SUCCEEDED, 1, 0)
        assert await side.pending() == 0


@pytest.mark.quick
@pytest.mark.fault(
    "workers", "kill -9 of a worker in the middle of a lease renewal", sees="the job runs again, as attempt 2"
)
@pytest.mark.parametrize("step", ["before_renew", "after_renew"])
async def test_a_worker_killed_while_it_renews_is_found_dead_like_any_other(redis_url: str, step: str) -> None:
    async with queue_bench(redis_url) as side:
        job_id = await side.submit()
        with worker_process(redis_url, "hang", lease_s=LEASE_S, armed=("kill", step), armed_nth=3) as killed:
            assert await ended(killed) == -signal.SIGKILL
        async with running_worker(redis_url, ScriptedHandler(say), lease_s=LEASE_S):
            job = await side.done(job_id)

        assert (job.state, job.attempt, job.crashes) == (JobState.SUCCEEDED, 2, 1)
