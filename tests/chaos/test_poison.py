"""A job that kills every worker that runs it, beside jobs that do not: only that job ends as
poison."""

import anyio
import pytest
from shared_schemas.job import JobState
from shared_schemas.specs import InferenceSpec

from tests.support.queue_bench import queue_bench
from tests.support.restarted_worker import restarted_worker


@pytest.mark.quick
@pytest.mark.fault(
    "workers",
    "a job kills its worker while other jobs run on it",
    sees="it becomes a dead letter, `poison`, after at most three workers; the other jobs succeed",
)
async def test_a_poison_job_takes_none_of_its_neighbours_with_it(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        neighbours = [await side.submit(InferenceSpec(model_id="m", input_data="linger")) for _ in range(3)]
        poison = await side.submit(InferenceSpec(model_id="m", input_data="crash"))
        async with restarted_worker(redis_url, slots=4) as deaths:
            dead = await side.done(poison, deadline_s=60)
            jobs = [await side.done(neighbour, deadline_s=60) for neighbour in neighbours]
            later = await side.done(await side.submit(InferenceSpec(model_id="m", input_data="answer")), deadline_s=60)
            died = list(deaths)

        assert await side.pending() == 0
    assert dead.error is not None
    assert (dead.state, dead.error.code) == (JobState.FAILED, "poison")
    assert [job.state for job in (*jobs, later)] == [JobState.SUCCEEDED] * 4
    assert died == [1] * dead.crashes
    assert dead.crashes <= 3


@pytest.mark.quick
@pytest.mark.fault("workers", "a quarantined job waits while the queue has a steady backlog", sees="it is run in time")
async def test_a_quarantined_job_is_not_starved_by_a_backlog(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        quarantined = await side.submit(InferenceSpec(model_id="m", input_data="answer"))
        for worker in ("a", "b"):
            await side.submit(InferenceSpec(model_id="m", input_data="answer"))
            claims = await (await side.worker(worker, capacity=8)).claim(8, token=worker)
            assert [await side.lose(claim) for claim in claims if claim.job_id == quarantined] == ["requeued"]
        assert (await side.fields(quarantined))["lane"] == "alone"

        async with anyio.create_task_group() as group:

            async def flood() -> None:
                while True:
                    await side.done(await side.submit(InferenceSpec(model_id="m", input_data="linger")), deadline_s=60)

            for _ in range(6):
                group.start_soon(flood)
            async with restarted_worker(redis_url, slots=4) as deaths:
                job = await side.done(quarantined, deadline_s=60)
                assert deaths == []
                group.cancel_scope.cancel()

    assert (job.state, job.attempt, job.crashes) == (JobState.SUCCEEDED, 3, 2)
