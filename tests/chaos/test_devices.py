"""A worker whose device is lost, as a GPU is after a sticky CUDA error: the process ends, its jobs
do not fail."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
from shared_schemas.job import JobState
from shared_schemas.retry import RetryPolicy
from shared_schemas.specs import InferenceSpec
from shared_schemas.store.files import ArtifactStore

from tests.support.inference_process import inference_process, publish
from tests.support.onnx_models import a_model, linear
from tests.support.processes import ended
from tests.support.workers import bench

IDENTITY = np.eye(2, dtype=np.float32)
LABELS = {"labels": ("a", "b"), "features": ("x", "y")}
SOON = RetryPolicy(max_attempts=3, backoff_s=0.1, max_backoff_s=0.2)


@pytest.mark.quick
@pytest.mark.fault(
    "machines",
    "a device fails every run from some point on, as after a sticky CUDA error",
    sees=(
        "the worker ends; one attempt fails with `device_failed` and is retried; the other jobs go "
        "back to the queue, and no crash is counted"
    ),
)
@pytest.mark.parametrize("is_list", [False, True], ids=["one input", "many inputs"])
async def test_a_worker_whose_device_is_lost_ends_and_fails_no_job(
    redis_url: str, tmp_path: Path, is_list: bool
) -> None:
    model = a_model(ArtifactStore(tmp_path), linear(IDENTITY, IDENTITY[0]), **LABELS)
    async with bench(redis_url) as jobs:
        ref = await publish(jobs, model)
        # The first run is the model's warm-up.
        with inference_process(redis_url, tmp_path, armed=("break", "session_run", 3)) as broken:
            await jobs.done(await jobs.submit(InferenceSpec(model_id=ref, input_data=[0, 3])))
            inputs = [[i, 3] for i in range(20)]
            ids = [
                await jobs.submit(InferenceSpec(model_id=ref, input_data=inputs if is_list else each, retry=SOON))
                for each in inputs
            ]
            status = await ended(broken)
        with inference_process(redis_url, tmp_path):
            done = [await jobs.done(job_id) for job_id in ids]

    assert status == 1
    assert {job.state for job in done} == {JobState.SUCCEEDED}
    assert sum(job.crashes for job in done) == 0
    assert sum(job.failures for job in done) == 1
    answer = msgspec.json.decode(done[-1].result)
    assert (answer[-1] if is_list else answer)["label"] == "a"


@pytest.mark.quick
@pytest.mark.fault(
    "machines",
    "a model is loaded on a device that has failed",
    sees="the worker ends; the next worker serves the model",
)
async def test_a_model_is_not_blamed_for_the_device_it_was_loaded_on(redis_url: str, tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    async with bench(redis_url) as jobs:
        first = await publish(jobs, a_model(store, linear(IDENTITY, IDENTITY[0]), **LABELS))
        second = await publish(jobs, a_model(store, linear(2 * IDENTITY, IDENTITY[0]), name="other", **LABELS))
        with inference_process(redis_url, tmp_path, armed=("break", "session_run", 3)) as broken:
            await jobs.done(await jobs.submit(InferenceSpec(model_id=first, input_data=[0, 3])))
            job_id = await jobs.submit(InferenceSpec(model_id=second, input_data=[0, 3], retry=SOON))
            status = await ended(broken)
        with inference_process(redis_url, tmp_path):
            job = await jobs.done(job_id)

    assert status == 1
    assert (job.state, job.failures) == (JobState.SUCCEEDED, 1)
