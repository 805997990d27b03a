"""A job that kills every worker that runs it, beside jobs that do not: only that job ends as
poison."""

from pathlib import Path

import anyio
import msgspec
import numpy as np
import pytest
from shared_schemas.job import JobState
from shared_schemas.specs import InferenceSpec
from shared_schemas.store.files import ArtifactStore

from tests.support.inference_process import inference_process, publish
from tests.support.onnx_models import a_model, linear
from tests.support.processes import ended
from tests.support.queue_bench import queue_bench
from tests.support.restarted_worker import restarted_worker
from tests.support.workers import bench


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


@pytest.mark.quick
@pytest.mark.fault(
    "workers",
    "a run of a model kills its worker, with a batch of jobs",
    sees="after the second time each of them runs alone: the one at fault becomes a dead letter, the others succeed",
)
async def test_the_jobs_of_a_batch_that_kills_its_worker_run_alone(redis_url: str, tmp_path: Path) -> None:
    identity = np.eye(2, dtype=np.float32)
    model = a_model(ArtifactStore(tmp_path), linear(identity, identity[0]), labels=("a", "b"), features=("x", "y"))
    async with bench(redis_url) as jobs:
        ref = await publish(jobs, model)
        ids = [await jobs.submit(InferenceSpec(model_id=ref, input_data=[i, 3])) for i in range(6)]
        # The first run of a process is the model's warm-up. The next one has all jobs, twice.
        for nth in (2, 2):
            with inference_process(redis_url, tmp_path, armed=("kill", "session_run", nth), lease_s=1) as worker:
                assert await ended(worker) == -9
        # Now each run has one job. The second job kills again.
        with inference_process(redis_url, tmp_path, armed=("kill", "session_run", 3), lease_s=1) as worker:
            assert await ended(worker) == -9
        with inference_process(redis_url, tmp_path, lease_s=1):
            done = [await jobs.done(job_id) for job_id in ids]

    at_fault = [job for job in done if job.state is JobState.FAILED]
    assert [job.error.code for job in at_fault if job.error is not None] == ["poison"]
    others = [job for job in done if job not in at_fault]
    assert [(job.state, job.crashes) for job in others] == [(JobState.SUCCEEDED, 2)] * 5
    assert all(msgspec.json.decode(job.result)["label"] in ("a", "b") for job in others)
