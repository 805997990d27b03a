"""A worker whose machine has a fault: an artifact store that cannot be written, or no free
descriptors."""

import errno
import resource
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import anyio
import pytest
from shared_schemas.events import Emitted, Reason, StateChanged
from shared_schemas.job import JobState
from shared_schemas.outcome import Success
from shared_schemas.retry import RetryPolicy
from shared_schemas.store.files import ArtifactStore, StoreUnwritable
from worker_runtime import Attempt

from tests.support.gateways import TRAINING
from tests.support.queue_bench import queue_bench
from tests.support.shims import Shim
from tests.support.tiny_disk import tiny_disk
from tests.support.training_process import a_training, training_process
from tests.support.worker_process import worker_process
from tests.support.workers import ScriptedHandler, bench, running_worker, success

DEADLINE_S = 120.0
LEASE_S = 1.5
# Enough attempts until the disk works again.
PATIENT = RetryPolicy(max_attempts=20, backoff_s=0.5, max_backoff_s=1.0)

Store = tuple[Path, Callable[[], None], Callable[[], None]]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Store]:
    """-> (the folder for artifacts, a call that breaks it, a call that repairs it)"""
    with ExitStack() as stack:
        if request.param == "store_failed":
            shim = Shim(tmp_path)
            for name, value in shim.environment.items():
                monkeypatch.setenv(name, value)
            yield tmp_path / "artifacts", lambda: shim.fail_fsync(errno.EIO), lambda: shim.fail_fsync(0)
            return
        disk = stack.enter_context(tiny_disk(2048))
        if request.param == "no_space":
            yield disk.path / "artifacts", disk.fill, disk.free
        else:
            yield disk.path / "artifacts", disk.make_read_only, disk.make_writable


@pytest.mark.timeout(4 * DEADLINE_S)
@pytest.mark.fault(
    "machines",
    "the artifact store becomes full or read-only, or fails with EIO, while a job trains",
    sees=(
        "`no_space`, `store_read_only` or `store_failed`; the attempt is retried; no temporary file "
        "is left; the worker survives"
    ),
)
@pytest.mark.parametrize(
    ("store", "code"), [(code, code) for code in ("no_space", "store_read_only", "store_failed")], indirect=["store"]
)
async def test_an_attempt_that_cannot_write_its_artifacts_is_tried_again(
    redis_url: str, tmp_path: Path, store: Store, code: str
) -> None:
    root, break_it, heal = store
    ArtifactStore(root)
    break_it()
    async with queue_bench(redis_url, TRAINING) as side:
        job_id = await side.submit(a_training(tmp_path, retry=PATIENT), queue=TRAINING)
        with training_process(redis_url, tmp_path, artifacts_root=root) as worker:
            failed = await side.until(
                job_id,
                lambda event: isinstance(event, StateChanged) and event.reason is Reason.RETRY,
                deadline_s=DEADLINE_S,
            )
            heal()
            job = await side.done(job_id, deadline_s=DEADLINE_S)
            assert worker.poll() is None
        [model] = (await side.registry.versions("tiny")).models

    assert isinstance(failed, StateChanged)
    assert failed.error is not None
    assert (failed.error.code, failed.error.retryable) == (code, True)
    assert (job.state, job.crashes) == (JobState.SUCCEEDED, 0)
    ArtifactStore(root).verify(model.manifest.onnx)
    assert list((root / "incoming").iterdir()) == []


@pytest.mark.quick
@pytest.mark.fault(
    "machines",
    "the artifact store of one worker is full; another worker is healthy",
    sees="the first worker fails a few jobs, not the whole queue",
)
async def test_a_worker_whose_store_is_full_does_not_eat_the_queue(redis_url: str) -> None:
    async def write_to_a_full_store(_: Attempt) -> Success:
        raise StoreUnwritable(OSError(errno.ENOSPC, "No space left on device"))

    async def take_a_while(_: Attempt) -> Success:
        await anyio.sleep(0.05)
        return success()

    async with bench(redis_url) as side:
        jobs = [await side.submit(retry=RetryPolicy(max_attempts=1)) for _ in range(60)]
        async with (
            running_worker(redis_url, ScriptedHandler(write_to_a_full_store), slots=1),
            running_worker(redis_url, ScriptedHandler(take_a_while), slots=1),
        ):
            done = [await side.done(job_id) for job_id in jobs]

    failed = [job for job in done if job.state is JobState.FAILED]
    assert {job.error.code for job in failed if job.error} == {"no_space"}
    assert len(failed) < len(jobs) / 2


@pytest.mark.quick
@pytest.mark.fault(
    "machines",
    "a worker has no file descriptors left, and its connections to Redis are cut",
    sees="its job runs again elsewhere within a lease; the worker continues once there are descriptors",
)
async def test_a_worker_without_descriptors_loses_its_job_to_another_and_works_afterwards(
    redis_url: str, tmp_path: Path
) -> None:
    log = tmp_path / "worker.log"
    async with bench(redis_url) as side:
        job_id = await side.submit()
        with worker_process(redis_url, "let_go", lease_s=LEASE_S, log=log) as poor:
            await side.until(job_id, lambda event: isinstance(event, Emitted))
            limits = resource.prlimit(poor.pid, resource.RLIMIT_NOFILE)
            resource.prlimit(poor.pid, resource.RLIMIT_NOFILE, (3, limits[1]))
            await side.client.client_kill_filter(_type="normal", skipme=True)
            await side.client.client_kill_filter(_type="pubsub")
            with worker_process(redis_url, "answer", lease_s=LEASE_S):
                job = await side.done(job_id)
            resource.prlimit(poor.pid, resource.RLIMIT_NOFILE, limits)
            later = await side.submit()
            await side.until(later, lambda event: isinstance(event, Emitted))
            assert poor.poll() is None

    assert (job.state, job.attempt, job.crashes) == (JobState.SUCCEEDED, 2, 1)


@pytest.mark.fault(
    "machines",
    "the machine of a training worker cannot start a process or a thread",
    sees="the attempt fails and is retried; the worker survives, and trains once it can start processes",
)
async def test_a_training_that_cannot_be_given_a_process_is_tried_again(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shim = Shim(tmp_path)
    for name, value in shim.environment.items():
        monkeypatch.setenv(name, value)
    async with queue_bench(redis_url, TRAINING) as side:
        with training_process(redis_url, tmp_path) as worker:
            await side.until_workers(1, TRAINING)
            shim.fail_tasks(errno.EAGAIN)
            job_id = await side.submit(a_training(tmp_path, retry=PATIENT), queue=TRAINING)
            failed = await side.until(
                job_id,
                lambda event: isinstance(event, StateChanged) and event.reason is Reason.RETRY,
                deadline_s=DEADLINE_S,
            )
            shim.fail_tasks(0)
            job = await side.done(job_id, deadline_s=DEADLINE_S)
            assert worker.poll() is None

    assert isinstance(failed, StateChanged)
    assert failed.error is not None
    assert (failed.error.code, failed.error.retryable) == ("no_process", True)
    assert (job.state, job.crashes) == (JobState.SUCCEEDED, 0)
