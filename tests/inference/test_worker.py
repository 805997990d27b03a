"""The worker as its own process, against a real Redis."""

import signal
from pathlib import Path

import anyio
import msgspec
import numpy as np
import pytest
from anyio import to_thread
from shared_schemas.events import Emitted
from shared_schemas.job import JobState
from shared_schemas.specs import InferenceParameters, InferenceSpec
from shared_schemas.store.files import ArtifactStore
from shared_schemas.stream.registry import ModelRegistry

from tests.support.inference_process import inference_process, publish
from tests.support.onnx_models import a_model, bigram, byte_tokenizer, linear
from tests.support.workers import bench

IDENTITY = np.eye(2, dtype=np.float32)


async def test_a_published_model_is_served_until_the_worker_is_asked_to_end(redis_url: str, tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    classifier = a_model(store, linear(IDENTITY, IDENTITY[0]), labels=("a", "b"), features=("x", "y"))

    async with bench(redis_url) as jobs:
        ref = await publish(jobs, classifier)
        with inference_process(redis_url, tmp_path) as process:
            specs = [InferenceSpec(model_id=ref, input_data=[i, 3]) for i in range(40)]
            ids = [await jobs.submit(spec) for spec in specs]
            done = [await jobs.done(job_id) for job_id in ids]
            process.send_signal(signal.SIGTERM)
            code = await to_thread.run_sync(lambda: process.wait(20))

    labels = [msgspec.json.decode(job.result)["label"] for job in done]
    assert labels == ["b"] * 2 + ["a"] * 38
    assert all(job.state is JobState.SUCCEEDED for job in done)
    assert code == 0


async def test_a_text_is_in_the_timeline_token_by_token(redis_url: str, tmp_path: Path) -> None:
    table = np.random.default_rng(0).standard_normal((260, 260)).astype(np.float32)
    writer = a_model(
        ArtifactStore(tmp_path), bigram(table), task="text-generation", tokenizer=byte_tokenizer(), context_length=16
    )

    async with bench(redis_url) as jobs:
        await publish(jobs, writer)
        with inference_process(redis_url, tmp_path):
            parameters = InferenceParameters(seed=5, max_tokens=30)
            job = await jobs.done(
                await jobs.submit(InferenceSpec(model_id="model", input_data="x", parameters=parameters))
            )
        events = await jobs.events(job.id)

    result = msgspec.json.decode(job.result)
    outputs = [event for event in events if isinstance(event, Emitted)]
    assert "".join(event.chunk for event in outputs) == result["text"]
    assert len(outputs) > 5
    assert outputs[-1].finish_reason == result["finish_reason"]


@pytest.mark.parametrize(("model_id", "code"), [("nobody", "model_not_found"), ("model", "invalid_input")])
async def test_what_cannot_be_answered_fails_at_once_with_its_code(
    redis_url: str, tmp_path: Path, model_id: str, code: str
) -> None:
    classifier = a_model(ArtifactStore(tmp_path), linear(IDENTITY, IDENTITY[0]), labels=("a", "b"), features=("x", "y"))

    async with bench(redis_url) as jobs:
        await publish(jobs, classifier)
        with inference_process(redis_url, tmp_path):
            job = await jobs.done(await jobs.submit(InferenceSpec(model_id=model_id, input_data={"x": 1})))

    assert (job.state, job.attempt) == (JobState.FAILED, 1)
    assert job.error is not None
    assert job.error.code == code


@pytest.mark.parametrize("cache", [False, True])
async def test_a_version_that_was_deleted_before_the_job_began_is_gone(
    redis_url: str, tmp_path: Path, cache: bool
) -> None:
    classifier = a_model(ArtifactStore(tmp_path), linear(IDENTITY, IDENTITY[0]), labels=("a", "b"), features=("x", "y"))

    async with bench(redis_url) as jobs:
        registry = ModelRegistry(jobs.nodes)
        ref = (await registry.resolve(await publish(jobs, classifier))).ref
        job_id = await jobs.submit(InferenceSpec(model_id=str(ref), input_data=[1, 3], cache=cache))
        # The gateway keeps a version that a job needs. A job that is stored while it looks is not seen.
        await registry.delete_version(ref)
        assert not await registry.is_published(ref)
        with inference_process(redis_url, tmp_path):
            job = await jobs.done(job_id)

    assert (job.state, job.attempt) == (JobState.FAILED, 1)
    assert job.error is not None
    assert (job.error.code, job.error.retryable) == ("model_gone", False)


async def test_a_job_that_is_cancelled_while_it_writes_ends_within_two_seconds(redis_url: str, tmp_path: Path) -> None:
    table = np.zeros((260, 260), dtype=np.float32)
    table[:, 3] = -100.0  # it never ends by itself
    writer = a_model(
        ArtifactStore(tmp_path), bigram(table), task="text-generation", tokenizer=byte_tokenizer(), context_length=16
    )

    async with bench(redis_url) as jobs:
        await publish(jobs, writer)
        with inference_process(redis_url, tmp_path):
            parameters = InferenceParameters(max_tokens=8192)
            job_id = await jobs.submit(InferenceSpec(model_id="model", input_data=["x"] * 8, parameters=parameters))
            await jobs.until(job_id, lambda event: isinstance(event, Emitted))
            await jobs.control.cancel(job_id)
            with anyio.fail_after(2):
                await jobs.until_state(job_id, JobState.CANCELLED)
