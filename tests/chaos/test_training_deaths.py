"""Training under faults: the worker or its child dies at any step, hangs, or uses up all memory."""

import signal
from pathlib import Path

import anyio
import msgspec
import psutil
import pytest
from shared_schemas.errors import ModelNotFound
from shared_schemas.events import Checkpointed, Measured, Reason, StateChanged
from shared_schemas.job import JobState
from shared_schemas.store.files import ArtifactStore

from tests.support.gateways import TRAINING
from tests.support.odd_recipes import install
from tests.support.processes import ended
from tests.support.queue_bench import QueueBench, queue_bench
from tests.support.training import TINY
from tests.support.training_process import a_training, alive, child_of, training_process

# Each attempt loads PyTorch, which takes half a minute on a busy machine.
DEADLINE_S = 240.0
pytestmark = pytest.mark.timeout(4 * DEADLINE_S)
ENDLESS = msgspec.structs.replace(TINY, epochs=10_000)
OFTEN = msgspec.structs.replace(ENDLESS, checkpoint_every_s=0.2)


def is_retry(event: object) -> bool:
    return isinstance(event, StateChanged) and event.reason is Reason.RETRY


async def published_once(side: QueueBench, folder: Path) -> None:
    """Assert that the model has one version, and that its files are complete."""
    [model] = (await side.registry.versions("tiny")).models
    assert model.version == 1
    ArtifactStore(folder / "artifacts").verify(model.manifest.onnx)


@pytest.mark.fault(
    "workers", "kill -9 of a training worker after it has started its child", sees="attempt 2 trains from the start"
)
@pytest.mark.fault(
    "workers", "kill -9 of a training worker just before or after it publishes its model", sees="one version, complete"
)
@pytest.mark.parametrize("step", ["child_started", "before_stage", "after_stage", "before_settle", "after_settle"])
async def test_a_training_worker_killed_at_any_step_publishes_one_model_in_the_end(
    redis_url: str, tmp_path: Path, step: str
) -> None:
    async with queue_bench(redis_url, TRAINING) as side:
        job_id = await side.submit(a_training(tmp_path), queue=TRAINING)
        # Nobody takes this job over, so a busy machine gets more time to renew its lease.
        lease_s = 15.0 if step == "after_settle" else 1.0
        with training_process(redis_url, tmp_path, armed=("kill", step), lease_s=lease_s) as killed:
            await ended(killed, within_s=DEADLINE_S)
        if step != "after_settle":
            with pytest.raises(ModelNotFound):
                await side.registry.resolve("tiny")
            with training_process(redis_url, tmp_path):
                await side.done(job_id, deadline_s=DEADLINE_S)
        job = await side.folded(job_id)
        await published_once(side, tmp_path)

    attempts = (1, 0) if step == "after_settle" else (2, 1)
    assert (job.state, job.attempt, job.crashes) == (JobState.SUCCEEDED, *attempts)


@pytest.mark.fault(
    "workers",
    "kill -9 of a training process before or after it renames an artifact",
    sees="the attempt is retried; one model",
)
@pytest.mark.parametrize("step", ["artifact_written", "artifact_renamed"])
async def test_a_child_killed_while_it_writes_an_artifact_leaves_no_half_of_one(
    redis_url: str, tmp_path: Path, step: str
) -> None:
    async with queue_bench(redis_url, TRAINING) as side:
        job_id = await side.submit(a_training(tmp_path), queue=TRAINING)
        with training_process(redis_url, tmp_path, armed=("kill", step), arms_child=True) as worker:
            failed = await side.until(job_id, is_retry, deadline_s=DEADLINE_S)
            assert worker.poll() is None
        with training_process(redis_url, tmp_path):
            job = await side.done(job_id, deadline_s=DEADLINE_S)
        await published_once(side, tmp_path)

    assert isinstance(failed, StateChanged)
    assert failed.error is not None
    assert failed.error.code == "worker_process_died"
    assert job.state is JobState.SUCCEEDED
    store = ArtifactStore(tmp_path / "artifacts")
    assert store.sweep(older_than_s=0.0) == (1 if step == "artifact_written" else 0)


@pytest.mark.fault(
    "workers", "kill -9, SIGSEGV or SIGABRT of a training process", sees="`worker_process_died`, retried"
)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
async def test_a_child_that_dies_does_not_end_its_worker(
    redis_url: str, tmp_path: Path, number: signal.Signals
) -> None:
    async with queue_bench(redis_url, TRAINING) as side:
        job_id = await side.submit(a_training(tmp_path, hyperparameters=ENDLESS), queue=TRAINING)
        with training_process(redis_url, tmp_path) as worker:
            await side.until(job_id, lambda event: isinstance(event, Measured), deadline_s=DEADLINE_S)
            child_of(worker).send_signal(number)
            failed = await side.until(job_id, is_retry, deadline_s=DEADLINE_S)
            await side.control.cancel(job_id)
            other = await side.submit(a_training(tmp_path), queue=TRAINING)
            job = await side.done(other, deadline_s=DEADLINE_S)
            assert worker.poll() is None

    assert isinstance(failed, StateChanged)
    assert failed.error is not None
    assert (failed.error.code, number.name in failed.error.message) == ("worker_process_died", True)
    assert (job.state, job.crashes) == (JobState.SUCCEEDED, 0)


@pytest.mark.fault(
    "workers",
    "kill -9 of a training worker in the middle of an epoch",
    sees="its child dies too; the job continues elsewhere",
)
async def test_a_killed_training_worker_leaves_no_child_and_its_job_goes_on_from_a_checkpoint(
    redis_url: str, tmp_path: Path
) -> None:
    async with queue_bench(redis_url, TRAINING) as side:
        job_id = await side.submit(a_training(tmp_path, hyperparameters=OFTEN), queue=TRAINING)
        with training_process(redis_url, tmp_path) as killed:
            saved = await side.until(job_id, lambda event: isinstance(event, Checkpointed), deadline_s=DEADLINE_S)
            pids = [child.pid for child in killed.children(recursive=True)]
            killed.kill()
            await ended(killed)
        with anyio.fail_after(10):
            while alive(pids):  # noqa: ASYNC110 - nothing announces the end of another's child
                await anyio.sleep(0.02)
        # The lease is long enough for a slow disk under Redis.
        with training_process(redis_url, tmp_path, lease_s=15.0):
            went_on = await side.until(
                job_id, lambda event: isinstance(event, Measured) and event.attempt == 2, deadline_s=DEADLINE_S
            )
            await side.control.cancel(job_id)
            await side.done(job_id, deadline_s=DEADLINE_S)

    assert pids
    assert isinstance(saved, Checkpointed)
    assert isinstance(went_on, Measured)
    assert went_on.step > saved.step


@pytest.mark.fault(
    "workers",
    "kill -9 of a training worker while it removes older checkpoints",
    sees="the recorded checkpoint is there",
)
async def test_the_recorded_checkpoint_exists_whenever_a_worker_is_killed(redis_url: str, tmp_path: Path) -> None:
    store, often = ArtifactStore(tmp_path / "artifacts"), msgspec.structs.replace(ENDLESS, checkpoint_every_s=1e-6)
    async with queue_bench(redis_url, TRAINING) as side:
        job_id = await side.submit(a_training(tmp_path, hyperparameters=often), queue=TRAINING)
        for n in (1, 2):
            with training_process(redis_url, tmp_path, checkpoints_kept=1) as killed:
                await side.until(
                    job_id,
                    lambda event, n=n: isinstance(event, Checkpointed) and event.attempt == n and event.step > 20 * n,
                    deadline_s=DEADLINE_S,
                )
                killed.kill()
                await ended(killed)
            job = await side.jobs.find(job_id)
            assert job.checkpoint is not None
            store.verify(job.checkpoint.artifact)
        files = [path for path in (tmp_path / "artifacts" / "sha256").rglob("*") if path.is_file()]

    # For each attempt: the newest, the best, and one that it was about to record or to remove.
    assert len(files) < 20


@pytest.mark.fault(
    "workers", "SIGSTOP of a training process", sees="`training_stalled` after `HEADRACE_STALL_TIMEOUT_S`, retried"
)
async def test_hung_training_is_ended_although_its_lease_is_renewed(redis_url: str, tmp_path: Path) -> None:
    async with queue_bench(redis_url, TRAINING) as side:
        job_id = await side.submit(a_training(tmp_path, hyperparameters=ENDLESS), queue=TRAINING)
        with training_process(redis_url, tmp_path, stall_timeout_s=20) as worker:
            await side.until(job_id, lambda event: isinstance(event, Measured), deadline_s=DEADLINE_S)
            child = child_of(worker)
            child.send_signal(signal.SIGSTOP)
            failed = await side.until(job_id, is_retry, deadline_s=DEADLINE_S)
            await side.control.cancel(job_id)
            job = await side.done(job_id, deadline_s=DEADLINE_S)

    assert isinstance(failed, StateChanged)
    assert failed.error is not None
    assert (failed.error.code, failed.attempt) == ("training_stalled", 1)
    assert job.crashes == 0
    assert alive([child.pid]) == []


@pytest.mark.fault(
    "machines", "a training process uses all memory", sees="`out_of_memory`; the job is a dead letter at once"
)
async def test_a_child_that_uses_up_memory_ends_alone(redis_url: str, tmp_path: Path) -> None:
    path = install(tmp_path, ["Gluttonous"])
    async with queue_bench(redis_url, TRAINING) as side:
        job_id = await side.submit(a_training(tmp_path, "gluttonous"), queue=TRAINING)
        with training_process(redis_url, tmp_path, python_path=path) as worker:
            job = await side.done(job_id, deadline_s=DEADLINE_S)
            next_job = await side.done(await side.submit(a_training(tmp_path), queue=TRAINING), deadline_s=DEADLINE_S)
            assert worker.poll() is None

    assert job.error is not None
    assert (job.state, job.error.code, job.attempt) == (JobState.FAILED, "out_of_memory", 1)
    assert next_job.state is JobState.SUCCEEDED


@pytest.mark.fault(
    "machines", "a machine runs out of memory", sees="the kernel kills the training process, not the worker"
)
async def test_the_kernel_would_end_the_child_before_its_worker(redis_url: str, tmp_path: Path) -> None:
    async with queue_bench(redis_url, TRAINING) as side:
        job_id = await side.submit(a_training(tmp_path, hyperparameters=ENDLESS), queue=TRAINING)
        with training_process(redis_url, tmp_path) as worker:
            await side.until(job_id, lambda event: isinstance(event, Measured), deadline_s=DEADLINE_S)
            scores = [_oom_score(pid) for pid in (worker.pid, child_of(worker).pid)]
            await side.control.cancel(job_id)
            await side.done(job_id, deadline_s=DEADLINE_S)

    assert scores[1] > scores[0]


def _oom_score(pid: int) -> int:
    return int(Path(f"/proc/{psutil.Process(pid).pid}/oom_score").read_text())
