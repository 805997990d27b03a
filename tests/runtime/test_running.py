"""What happens to a job that a worker runs."""

import anyio
import pytest
from shared_schemas.errors import AttemptFailed, StateConflict
from shared_schemas.events import Emitted, Logged, Measured, Progressed, Reason, StateChanged
from shared_schemas.job import JobState
from shared_schemas.outcome import Success
from shared_schemas.retry import RetryPolicy
from shared_schemas.stream.claims import Claims
from worker_runtime import Attempt, StopReason

from tests.support.workers import INFERENCE, ScriptedHandler, bench, running_worker, success, until_blocked

QUICK = RetryPolicy(max_attempts=3, backoff_s=0.05, max_backoff_s=0.1)


async def test_a_job_runs_and_its_events_are_in_order(redis_url: str) -> None:
    async def speak(attempt: Attempt) -> Success:
        for i in range(3000):
            await attempt.record(Emitted(chunk=str(i)))
        await attempt.record(Progressed(fraction=1.0))
        await attempt.record(Measured(split="train", step=1, values={"loss": 0.5}))
        return success({"answer": 42})

    async with bench(redis_url) as side, running_worker(redis_url, ScriptedHandler(speak)):
        job_id = await side.submit()
        job = await side.done(job_id)
        events = await side.events(job_id)

    assert job.state is JobState.SUCCEEDED
    assert bytes(job.result) == b'{"answer":42}'
    assert job.progress is not None
    assert job.progress.fraction == 1.0
    assert [event.chunk for event in events if isinstance(event, Emitted)] == [str(i) for i in range(3000)]


async def test_a_worker_never_runs_more_than_its_slots(redis_url: str) -> None:
    release = anyio.Event()

    async def wait(_: Attempt) -> Success:
        await release.wait()
        return success()

    handler = ScriptedHandler(wait)
    async with bench(redis_url) as side, running_worker(redis_url, handler, slots=3):
        jobs = [await side.submit() for _ in range(10)]
        for job_id in jobs[:3]:
            await side.until_state(job_id, JobState.RUNNING)
        release.set()
        for job_id in jobs:
            assert (await side.done(job_id)).state is JobState.SUCCEEDED

    assert handler.most_at_once == 3


async def test_as_many_attempts_as_there_are_slots_run_at_once(redis_url: str) -> None:
    slots, met = 40, anyio.Event()

    async def meet(_: Attempt) -> Success:
        nonlocal met
        mine = met
        if handler.at_once == slots:
            mine.set()
            met = anyio.Event()
        await mine.wait()
        return success()

    handler = ScriptedHandler(meet)
    async with bench(redis_url) as side, running_worker(redis_url, handler, slots=slots):
        # The second time, the tasks of the worker already exist.
        for _ in range(2):
            for job_id in [await side.submit() for _ in range(slots)]:
                assert (await side.done(job_id)).state is JobState.SUCCEEDED


async def test_an_attempt_whose_answer_an_idle_worker_lost_is_run_before_its_lease_is_over(redis_url: str) -> None:
    """The case in which Redis reads a claim late, after the worker has recovered its entries over another
    connection."""
    release = anyio.Event()

    async def wait(_: Attempt) -> Success:
        await release.wait()
        return success()

    async with (
        bench(redis_url) as side,
        running_worker(redis_url, ScriptedHandler(wait), slots=1, lease_s=60) as worker,
    ):
        await until_blocked(side.client)
        first = await side.submit()
        await side.until_state(first, JobState.RUNNING)
        second = await side.submit()
        twin = Claims(side.nodes, side.client, INFERENCE, worker=worker.name, lease_s=60)
        [lost] = await twin.claim(1, token="t")
        assert lost.job_id == second
        release.set()
        job = await side.done(second)

    assert (job.state, job.attempt, job.crashes) == (JobState.SUCCEEDED, 1, 0)


async def test_a_retryable_failure_is_tried_again_until_the_policy_forbids(redis_url: str) -> None:
    async def fail(_: Attempt) -> Success:
        raise AttemptFailed("flaky", "no luck", retryable=True)

    async with bench(redis_url) as side, running_worker(redis_url, ScriptedHandler(fail)):
        job = await side.done(await side.submit(retry=QUICK))

    assert (job.state, job.attempt, job.failures) == (JobState.FAILED, 3, 2)
    assert job.error is not None
    assert job.error.code == "flaky"


async def test_a_permanent_failure_is_not_tried_again(redis_url: str) -> None:
    async def fail(_: Attempt) -> Success:
        raise AttemptFailed("bad_input", "no use")

    async with bench(redis_url) as side, running_worker(redis_url, ScriptedHandler(fail)):
        job = await side.done(await side.submit(retry=QUICK))

    assert (job.state, job.attempt) == (JobState.FAILED, 1)


async def test_an_unexpected_exception_is_named_by_its_type_alone(redis_url: str) -> None:
    async def fail(_: Attempt) -> Success:
        raise KeyError("secret")

    once = RetryPolicy(max_attempts=1)
    async with bench(redis_url) as side, running_worker(redis_url, ScriptedHandler(fail)):
        job = await side.done(await side.submit(retry=once))

    assert job.error is not None
    assert job.error.code == "internal"
    assert "secret" not in job.error.message


async def test_an_attempt_past_its_timeout_ends_and_is_not_tried_again(redis_url: str) -> None:
    async def hang(_: Attempt) -> Success:
        await anyio.sleep_forever()
        return success()

    async with bench(redis_url) as side, running_worker(redis_url, ScriptedHandler(hang)):
        job = await side.done(await side.submit(timeout_s=0.2, retry=QUICK))

    assert (job.state, job.attempt) == (JobState.FAILED, 1)
    assert job.error is not None
    assert job.error.code == "timeout"


async def test_cancelling_a_running_job_frees_its_handler(redis_url: str) -> None:
    freed = anyio.Event()

    async def hang(_: Attempt) -> Success:
        try:
            await anyio.sleep_forever()
        finally:
            freed.set()
        return success()

    async with bench(redis_url) as side, running_worker(redis_url, ScriptedHandler(hang), lease_s=30):
        job_id = await side.submit()
        await side.until_state(job_id, JobState.RUNNING)
        assert await side.control.cancel(job_id) is JobState.RUNNING
        with anyio.fail_after(2):
            await freed.wait()
        job = await side.done(job_id)
        assert await side.control.cancel(job_id) is JobState.CANCELLED

    assert (job.state, job.cancel_requested) == (JobState.CANCELLED, True)


async def test_a_success_that_lands_before_the_cancel_stays_one(redis_url: str) -> None:
    async def answer(_: Attempt) -> Success:
        return success(1)

    async with bench(redis_url) as side, running_worker(redis_url, ScriptedHandler(answer)):
        job_id = await side.submit()
        await side.done(job_id)
        with pytest.raises(StateConflict):
            await side.control.cancel(job_id)


async def test_a_paused_job_frees_its_slot_and_continues_when_resumed(redis_url: str) -> None:
    async def until_paused(attempt: Attempt) -> Success:
        if attempt.number > 1:
            return success("resumed")
        assert await attempt.stopped() is StopReason.PAUSED
        from shared_schemas.outcome import Release

        return Release()  # type: ignore[return-value]

    async with bench(redis_url) as side, running_worker(redis_url, ScriptedHandler(until_paused)):
        job_id = await side.submit()
        await side.until_state(job_id, JobState.RUNNING)
        await side.control.pause(job_id)
        await side.until_state(job_id, JobState.PAUSED)
        assert (await side.folded(job_id)).state is JobState.PAUSED
        await side.control.resume(job_id)
        job = await side.done(job_id)

    assert (job.state, job.attempt, job.failures, job.crashes) == (JobState.SUCCEEDED, 2, 0, 0)


async def test_log_lines_past_the_limit_are_counted_and_not_kept(redis_url: str) -> None:
    async def chatter(attempt: Attempt) -> Success:
        for i in range(5010):
            await attempt.record(Logged(line=f"line {i} " + "x" * (20_000 if i == 0 else 0)))
        return success()

    async with bench(redis_url) as side, running_worker(redis_url, ScriptedHandler(chatter)):
        job_id = await side.submit()
        await side.done(job_id)
        lines = [event for event in await side.events(job_id) if isinstance(event, Logged)]

    assert len(lines) == 5001
    assert lines[-1].dropped == 10
    assert len(lines[0].line) < 9000


async def test_a_scheduled_job_runs_when_it_is_due_and_dependents_follow(redis_url: str) -> None:
    order: list[str] = []

    async def note(attempt: Attempt) -> Success:
        order.append(attempt.job_id)
        return success()

    from datetime import UTC, datetime, timedelta

    async with bench(redis_url) as side, running_worker(redis_url, ScriptedHandler(note)):
        first = await side.submit(run_at=datetime.now(UTC) + timedelta(seconds=0.5))
        second = await side.submit(depends_on=(first,))
        job = await side.done(second)
        reasons = [event.reason for event in await side.events(first) if isinstance(event, StateChanged)]

    assert job.state is JobState.SUCCEEDED
    assert order == [first, second]
    assert reasons == [Reason.SCHEDULED, Reason.DUE, Reason.CLAIMED]


async def test_a_job_whose_dependency_failed_is_cancelled(redis_url: str) -> None:
    async def fail(_: Attempt) -> Success:
        raise AttemptFailed("bad_input", "no use")

    async with bench(redis_url) as side, running_worker(redis_url, ScriptedHandler(fail)):
        first = await side.submit()
        job = await side.done(await side.submit(depends_on=(first,)))

    assert job.state is JobState.CANCELLED
    assert job.error is not None
    assert job.error.code == "dependency_failed"
    assert job.error.message == f"{first}, which this job depends on, failed"
