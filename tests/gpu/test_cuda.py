"""Training and serving on a CUDA device, and what its processes leave on it when they fail. Skipped without one."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
from inference_worker.engines.session import OrtSession, Stop
from shared_schemas.errors import ErrorInfo
from shared_schemas.events import Checkpointed, JobEvent, Logged, Measured
from shared_schemas.ids import JobId
from shared_schemas.job import Job, JobState
from shared_schemas.retry import RetryPolicy
from shared_schemas.service.gpus import used_bytes, visible_gpus
from shared_schemas.specs import InferenceSpec
from shared_schemas.stream.workers import Workers

from tests.support.gateways import TRAINING
from tests.support.inference_process import inference_process
from tests.support.odd_recipes import install
from tests.support.onnx_models import mlp
from tests.support.processes import ended
from tests.support.queue_bench import QueueBench, queue_bench
from tests.support.training import TINY, assignment, fitted, measured, stopped, write_table, write_texts
from tests.support.training_process import a_training, training_process
from tests.support.workers import bench

# Each attempt loads PyTorch and makes a context of CUDA.
DEADLINE_S = 120.0
pytestmark = [pytest.mark.gpu, pytest.mark.timeout(4 * DEADLINE_S)]
ODD = ("Asserting", "DeviceGluttonous", "DeviceHoarding")
ONCE = RetryPolicy(max_attempts=1)
LONG = msgspec.structs.replace(TINY, epochs=2_000, checkpoint_every_s=0.2)
JOBS = {
    "table": {"model_type": "mlp", "data_path": "table.csv", "feature_columns": ("x", "z")},
    "texts": {"model_type": "transformer", "data_path": "texts.csv"},
}


@pytest.fixture(autouse=True)
def device() -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")


def says_where(event: JobEvent) -> bool:
    return isinstance(event, Logged) and event.line.startswith("device ")


async def trained_on_the_device(side: QueueBench, job_id: JobId) -> Job:
    job = await side.done(job_id, deadline_s=DEADLINE_S)
    [where] = [event.line for event in await side.events(job_id) if says_where(event)]
    assert where.startswith("device cuda (")
    return job


def error_of(job: Job) -> ErrorInfo:
    assert job.state is JobState.FAILED
    assert job.error is not None
    return job.error


async def test_a_model_is_trained_and_served_on_the_device(redis_url: str, tmp_path: Path) -> None:
    async with queue_bench(redis_url, TRAINING) as side:
        job_id = await side.submit(a_training(tmp_path), queue=TRAINING)
        with training_process(redis_url, tmp_path, device="auto"):
            job = await trained_on_the_device(side, job_id)
    assert job.state is JobState.SUCCEEDED
    async with bench(redis_url) as jobs:
        with inference_process(redis_url, tmp_path / "artifacts", device="auto"):
            asked = await jobs.submit(InferenceSpec(model_id="tiny", input_data={"x": 1.0, "z": 1.0, "amount": 102.0}))
            answer = await jobs.done(asked, deadline_s=DEADLINE_S)
    assert answer.state is JobState.SUCCEEDED
    assert msgspec.json.decode(answer.result)["label"] in {"warm", "cold"}


def test_a_session_on_the_device_answers_as_one_on_the_cpu_does(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(mlp([16, 256, 256, 8]))
    feed = {"features": np.random.default_rng(0).standard_normal((64, 16)).astype(np.float32)}

    last = f"cuda:{len(visible_gpus()) - 1}"
    on_device, on_last, on_cpu = (OrtSession(path, device=device) for device in ("auto", last, "cpu"))

    assert (on_device.provider, on_cpu.provider) == ("CUDAExecutionProvider", "CPUExecutionProvider")
    assert on_last.facts["device"] == f"cuda {visible_gpus()[-1].name}"
    expected = on_cpu.run(feed, Stop())["logits"]
    for session in (on_device, on_last):
        # TF32, which the device computes float32 products in, has 10 bits of mantissa.
        np.testing.assert_allclose(session.run(feed, Stop())["logits"], expected, atol=1e-2)


def test_the_driver_and_pytorch_see_the_same_gpus() -> None:
    torch = pytest.importorskip("torch")
    gpus = visible_gpus()

    assert [gpu.name for gpu in gpus] == [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    for gpu in gpus:
        taken = torch.empty(256 << 20, dtype=torch.uint8, device=gpu.device)
        used = used_bytes(gpu)
        assert used is not None
        assert taken.nbytes < used <= gpu.memory_bytes


async def test_a_worker_on_the_last_gpu_trains_there_and_shows_it(redis_url: str, tmp_path: Path) -> None:
    last = visible_gpus()[-1]
    async with queue_bench(redis_url, TRAINING) as side:
        job_id = await side.submit(a_training(tmp_path), queue=TRAINING)
        with training_process(redis_url, tmp_path, device=last.device):
            job = await trained_on_the_device(side, job_id)
            [worker] = await Workers(side.nodes).registered(TRAINING)

    assert job.state is JobState.SUCCEEDED
    assert worker.device is not None
    assert (worker.device.name, worker.device.uuid) == (last.device, last.uuid)
    assert worker.device.used_bytes is not None


@pytest.mark.parametrize("data", JOBS)
def test_a_run_stopped_on_the_device_goes_on_as_if_it_had_not_been(tmp_path: Path, data: str) -> None:
    write_table(tmp_path / "table.csv")
    write_texts(tmp_path / "texts.csv")
    job = msgspec.structs.replace(assignment(tmp_path, **JOBS[data]), device="cuda")
    whole, events = fitted(job)

    checkpoint, before = stopped(job, after_steps=3)
    rest, after = fitted(msgspec.structs.replace(job, checkpoint=checkpoint))

    assert measured(before) + measured(after) == measured(events)
    assert rest == whole


@pytest.mark.fault(
    "machines",
    "a real device-side assertion of CUDA in a training process (needs a GPU)",
    sees="`recipe_failed`; the same worker trains the next job on the device",
)
async def test_a_process_whose_context_is_broken_is_used_for_no_other_job(redis_url: str, tmp_path: Path) -> None:
    async with queue_bench(redis_url, TRAINING) as side:
        broken = await side.submit(a_training(tmp_path, "asserting", retry=ONCE), queue=TRAINING)
        whole = await side.submit(a_training(tmp_path), queue=TRAINING)
        with training_process(redis_url, tmp_path, device="cuda", python_path=install(tmp_path, ODD)) as worker:
            failed = await side.done(broken, deadline_s=DEADLINE_S)
            job = await trained_on_the_device(side, whole)
            assert worker.poll() is None

    assert error_of(failed).code == "recipe_failed"
    assert "training code" in error_of(failed).message
    assert (job.state, job.attempt) == (JobState.SUCCEEDED, 1)


@pytest.mark.fault(
    "machines",
    "a training process that keeps more than half of the GPU's memory (needs a GPU)",
    sees="the memory is free once the process ends: the next one uses as much",
)
async def test_memory_that_a_job_keeps_is_there_for_the_next(redis_url: str, tmp_path: Path) -> None:
    async with queue_bench(redis_url, TRAINING) as side:
        ids = [await side.submit(a_training(tmp_path, "devicehoarding", retry=ONCE), queue=TRAINING) for _ in range(2)]
        with training_process(redis_url, tmp_path, device="cuda", python_path=install(tmp_path, ODD)):
            jobs = [await trained_on_the_device(side, job_id) for job_id in ids]

    assert [job.state for job in jobs] == [JobState.SUCCEEDED] * 2


@pytest.mark.fault(
    "machines", "a training process asks for more memory than the GPU has (needs a GPU)", sees="`out_of_memory`"
)
async def test_a_job_too_large_for_the_device_says_so(redis_url: str, tmp_path: Path) -> None:
    async with queue_bench(redis_url, TRAINING) as side:
        job_id = await side.submit(a_training(tmp_path, "devicegluttonous", retry=ONCE), queue=TRAINING)
        with training_process(redis_url, tmp_path, device="cuda", python_path=install(tmp_path, ODD)):
            job = await side.done(job_id, deadline_s=DEADLINE_S)

    assert error_of(job).code == "out_of_memory"


@pytest.mark.fault(
    "workers",
    "kill -9 of a training worker in mid-epoch on a GPU (needs a GPU)",
    sees="the job continues from its checkpoint, on the device",
)
async def test_a_worker_killed_on_the_device_loses_only_the_steps_since_its_checkpoint(
    redis_url: str, tmp_path: Path
) -> None:
    async with queue_bench(redis_url, TRAINING) as side:
        job_id = await side.submit(a_training(tmp_path, hyperparameters=LONG), queue=TRAINING)
        with training_process(redis_url, tmp_path, device="cuda") as killed:
            saved = await side.until(job_id, lambda event: isinstance(event, Checkpointed), deadline_s=DEADLINE_S)
            killed.kill()
            await ended(killed)
        with training_process(redis_url, tmp_path, device="cuda"):
            went_on = await side.until(
                job_id, lambda event: isinstance(event, Measured) and event.attempt == 2, deadline_s=DEADLINE_S
            )
            job = await side.done(job_id, deadline_s=DEADLINE_S)
        where = [event.line for event in await side.events(job_id) if says_where(event)]

    assert isinstance(saved, Checkpointed)
    assert isinstance(went_on, Measured)
    assert went_on.step > saved.step
    assert (job.state, job.attempt, job.crashes) == (JobState.SUCCEEDED, 2, 1)
    assert [line.startswith("device cuda (") for line in where] == [True, True]
