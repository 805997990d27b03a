"""Wall clocks that jump, on the host of Redis or of a worker, and a disk of Redis that stalls."""

import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import anyio
import pytest
from shared_schemas.errors import BackendUnavailable, JobNotFound
from shared_schemas.events import Emitted, Reason, StateChanged
from shared_schemas.ids import JobId
from shared_schemas.job import JobState
from shared_schemas.specs import InferenceSpec

from tests.support.redis_server import TICK_S, WRITE_PUT_OFF_S, RedisServer, running_redis
from tests.support.shims import Shim
from tests.support.worker_process import worker_process
from tests.support.workers import INFERENCE, Bench, bench

HOUR_S, DAY_S = 3600.0, 86_400.0
LEASE_S = 1.5


@pytest.fixture
def shim() -> Iterator[Shim]:
    with tempfile.TemporaryDirectory(prefix="hr-") as folder:
        yield Shim(Path(folder))


@pytest.fixture
def shimmed(shim: Shim, request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    options = getattr(request, "param", ())
    with (
        tempfile.TemporaryDirectory(prefix="hr-") as folder,
        running_redis(Path(folder), options=options, environment=shim.environment) as server,
    ):
        yield server


def in_an_hour() -> InferenceSpec:
    return InferenceSpec(model_id="m", input_data="x", run_at=datetime.fromtimestamp(time.time() + HOUR_S, UTC))


def reasons(events: list[object], wanted: Reason) -> int:
    return sum(isinstance(event, StateChanged) and event.reason is wanted for event in events)


@pytest.mark.quick
@pytest.mark.fault(
    "clocks",
    "the clock of Redis jumps two hours ahead, then two hours back",
    sees="running jobs continue; a scheduled job runs early, once",
)
async def test_a_clock_of_redis_that_jumps_takes_no_job_from_a_live_worker(shim: Shim, shimmed: RedisServer) -> None:
    async with bench(shimmed.url) as side:
        job_id = await side.submit()
        delayed = await side.submit(in_an_hour())
        with (
            worker_process(shimmed.url, "speak", lease_s=LEASE_S),
            worker_process(shimmed.url, "speak", lease_s=LEASE_S),
        ):
            await side.until(job_id, lambda event: isinstance(event, Emitted))
            shim.set_clock(2 * HOUR_S)
            await side.until(delayed, lambda event: isinstance(event, Emitted))
            shim.set_clock(0.0)
            job, early = await side.done(job_id), await side.done(delayed)
            # A live worker registers again by itself.
            await side.until_workers(2)
            events = await side.events(delayed)
            log = [entry.id for entry in await side.change_log.read(INFERENCE)]

    assert (job.state, job.attempt, job.crashes) == (JobState.SUCCEEDED, 1, 0)
    assert (early.state, early.attempt, early.crashes) == (JobState.SUCCEEDED, 1, 0)
    assert reasons(events, Reason.DUE) == 1  # type: ignore[arg-type]
    assert log == sorted(log, key=lambda entry: [int(part) for part in entry.split("-")])


@pytest.mark.quick
@pytest.mark.fault(
    "clocks",
    "the clock of Redis is set back two hours, and one worker dies",
    sees="running jobs continue; the dead worker's job runs again within a lease and the checks for it",
)
async def test_a_job_whose_worker_died_before_redis_clock_was_set_back_runs_again(
    shim: Shim, shimmed: RedisServer
) -> None:
    shim.set_clock(2 * HOUR_S)
    async with bench(shimmed.url) as side:
        job_id = await side.submit()
        with worker_process(shimmed.url, "hang", lease_s=LEASE_S) as first:
            await side.until(job_id, lambda event: isinstance(event, Emitted))
            first.kill()
            shim.set_clock(0.0)
            with worker_process(shimmed.url, "answer", lease_s=LEASE_S):
                job = await side.done(job_id)

    assert (job.state, job.attempt, job.crashes) == (JobState.SUCCEEDED, 2, 1)


@pytest.mark.quick
@pytest.mark.fault("clocks", "the clock of a worker is a day ahead or behind", sees="nothing")
@pytest.mark.parametrize("offset_s", [DAY_S, -DAY_S])
async def test_a_worker_whose_clock_is_wrong_by_a_day_works_as_any_other(
    redis_url: str, shim: Shim, offset_s: float
) -> None:
    shim.set_clock(offset_s)
    async with bench(redis_url) as side:
        job_id = await side.submit()
        with worker_process(redis_url, "speak", lease_s=LEASE_S, environment=shim.environment):
            await side.until(job_id, lambda event: isinstance(event, Emitted))
            with worker_process(redis_url, "speak", lease_s=LEASE_S):
                later = await side.submit(in_an_hour())
                job = await side.done(job_id)
                await side.until_workers(2)
                assert (await side.folded(later)).state is JobState.SCHEDULED

    assert (job.state, job.attempt, job.crashes) == (JobState.SUCCEEDED, 1, 0)
    assert job.finished_at is not None
    assert abs(job.finished_at.timestamp() - time.time()) < HOUR_S


async def submit_until(side: Bench, end_s: float) -> dict[JobId, float]:
    """Submit jobs one after another. -> when each was acknowledged, by the monotonic clock."""
    acknowledged = {}
    while time.monotonic() < end_s:
        try:
            acknowledged[await side.submit()] = time.monotonic()
        except BackendUnavailable:
            break
    return acknowledged


async def missing(side: Bench, jobs: dict[JobId, float]) -> list[JobId]:
    lost = []
    for job_id in jobs:
        try:
            await side.folded(job_id)
        except JobNotFound:
            lost.append(job_id)
    return lost


@pytest.mark.fault(
    "redis",
    "kill -9 of Redis while its disk stalls, appendfsync everysec",
    sees="jobs acknowledged in the last two seconds may be lost, but no earlier ones",
)
async def test_a_killed_redis_with_a_stalled_disk_loses_two_seconds_at_most(shim: Shim, shimmed: RedisServer) -> None:
    async with bench(shimmed.url) as side:
        shim.stall_fsync(60.0)
        early = await submit_until(side, time.monotonic() + 1.5)
        with anyio.fail_after(20):
            while not (await side.client.info("persistence"))["aof_pending_bio_fsync"]:
                await side.submit()
        late = await submit_until(side, time.monotonic() + 4.0)
        killed_at = time.monotonic()
        shimmed.kill()
        shim.stall_fsync(0.0)
        shimmed.start()

        lost = await missing(side, early | late)

    assert lost, "the fault did not bite: nothing was held back"
    oldest_s = killed_at - min((early | late)[job_id] for job_id in lost)
    assert oldest_s < WRITE_PUT_OFF_S + TICK_S


@pytest.mark.fault(
    "redis", "kill -9 of Redis while its disk stalls, appendfsync always", sees="no acknowledged job is missing"
)
@pytest.mark.parametrize("shimmed", [("--appendfsync", "always")], indirect=True)
async def test_a_killed_redis_that_syncs_each_answer_loses_nothing(shim: Shim, shimmed: RedisServer) -> None:
    async with bench(shimmed.url) as side:
        shim.stall_fsync(0.3)
        began = time.monotonic()
        jobs = await submit_until(side, began + 3.0)
        assert len(jobs) <= 3.0 / 0.3 + 1, "the fault did not bite: answers came before the disk had them"
        shimmed.kill()
        shim.stall_fsync(0.0)
        shimmed.start()

        assert await missing(side, jobs) == []
