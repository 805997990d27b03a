"""How fast a queue drains, as its log says, and what follows for the jobs that wait."""

from datetime import UTC, datetime, timedelta

import anyio
import pytest
from shared_schemas.ids import JobId
from shared_schemas.outcome import Success
from shared_schemas.specs import Priority
from shared_schemas.stream import keys
from shared_schemas.stream.drain_rate import DrainRate, retry_after_s
from shared_schemas.stream.jobs import Waiting
from shared_schemas.stream.queue_status import statuses_of
from shared_schemas.stream.submission import Submission

from tests.support.queue_bench import OUTCOMES, QueueBench, queue_bench, success
from tests.support.workers import INFERENCE, ScriptedHandler, a_submission, running_worker


async def drain_per_s(side: QueueBench) -> float | None:
    [status] = await statuses_of(side.nodes, [INFERENCE])
    return status.drain_per_s


async def waiting(side: QueueBench, job_id: JobId) -> Waiting:
    found = await side.jobs.waiting(job_id)
    assert found is not None
    return found


async def newest_pace(side: QueueBench) -> list[int]:
    """-> ended, until, busy, since"""
    [(_, fields)] = await side.client.xrevrange(keys.log(INFERENCE), "+", "-", 1)
    return [int(part) for part in fields[b"pace"].split()]


async def test_nothing_is_known_of_a_queue_in_which_no_attempt_has_ended(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        job_id = await side.submit()

        assert await drain_per_s(side) is None
        assert (await waiting(side, job_id)).starts_in_s is None


async def test_attempts_that_end_while_jobs_wait_are_the_pace(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        for _ in range(6):
            await side.submit()
        for _ in range(4):
            [claim] = await side.claim(slots=1)
            await side.settle(claim, OUTCOMES["success"])

        ended, until_ms, busy_ms, since = await newest_pace(side)
        assert (ended, busy_ms) == (4, 0), "the queue has been busy without a pause"
        assert since > 0
        rate = await drain_per_s(side)
        assert rate is not None
        assert rate == pytest.approx(4000 / max(until_ms, 1))


async def test_the_time_in_which_nothing_waits_and_nothing_runs_does_not_count(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        await side.submit()
        [claim] = await side.claim(slots=1)
        await side.settle(claim, OUTCOMES["success"])
        idle = await newest_pace(side)
        await side.submit()

        assert idle[3] == 0, "the only job has ended, so the queue is no longer busy"
        assert await newest_pace(side) == idle


async def test_a_worker_with_a_free_slot_shows_no_pace(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        await side.submit()
        [claim] = await side.claim(slots=10)
        await side.settle(claim, OUTCOMES["success"])

        assert await newest_pace(side) == [0, 0, 0, 0]
        assert await drain_per_s(side) is None


async def test_failures_and_retries_free_a_slot_and_cancelled_jobs_do_not(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        cancelled = await side.submit()
        for _ in range(5):
            await side.submit()
        await side.control.cancel(cancelled)
        for outcome in ("failure", "retry", "release"):
            [claim] = await side.claim(slots=1)
            await side.settle(claim, OUTCOMES[outcome])

        assert (await newest_pace(side))[0] == 3


@pytest.mark.parametrize("pace", ["", "x", "1 2 3", "1 2 3 4 5", "-1 0 0 0", "9" * 400 + " 0 0 0", "1e9 0 0 0"])
async def test_a_pace_that_no_script_wrote_is_begun_anew(redis_url: str, pace: str) -> None:
    async with queue_bench(redis_url) as side:
        for _ in range(3):
            await side.submit()
        fields = {"count": 3, "changes": "x\nstate {}", "pace": pace}
        await side.client.xadd(keys.log(INFERENCE), fields)
        assert await drain_per_s(side) is None
        assert (await waiting(side, await side.submit())).starts_in_s is None

        for _ in range(2):
            [claim] = await side.claim(slots=1)
            await side.settle(claim, OUTCOMES["success"])

        assert (await newest_pace(side))[0] == 2


async def test_a_log_of_an_older_version_has_no_pace_and_gets_one(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        await side.client.xadd(keys.log(INFERENCE), {"count": 1, "changes": "x\nstate {}"})
        for _ in range(3):
            await side.submit()
        for _ in range(2):
            [claim] = await side.claim(slots=1)
            await side.settle(claim, OUTCOMES["success"])

        assert (await newest_pace(side))[0] == 2
        assert await drain_per_s(side) is not None


async def test_positions_count_the_lanes_in_front_and_the_jobs_ready_before(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        [low] = [await side.submit(priority=Priority.LOW)]
        normal = [await side.submit() for _ in range(3)]
        high = await side.submit(priority=Priority.HIGH)
        released = await side.submit(priority=Priority.HIGH)
        claims = await side.claim(slots=2)
        await side.settle(next(claim for claim in claims if claim.job_id == released), OUTCOMES["release"])

        assert {claim.job_id for claim in claims} == {high, released}
        assert [(await waiting(side, job_id)).position for job_id in (released, *normal, low)] == [0, 1, 2, 3, 4]
        assert await side.jobs.waiting(high) is None, "it runs"


async def test_a_cancelled_job_is_not_in_front_of_anyone(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        first, second, third = [await side.submit() for _ in range(3)]
        await side.control.cancel(second)

        assert [(await waiting(side, job_id)).position for job_id in (first, third)] == [0, 1]
        assert await side.jobs.waiting(second) is None


async def test_a_job_that_was_paused_goes_on_behind_those_that_were_ready_meanwhile(redis_url: str) -> None:
    """Its old entry is still in front of theirs."""
    async with queue_bench(redis_url) as side:
        first, paused, third = [await side.submit() for _ in range(3)]
        await side.control.pause(paused)
        assert (await waiting(side, third)).position == 1
        await side.control.resume(paused)
        last = await side.submit()

        assert [(await waiting(side, job_id)).position for job_id in (first, third, paused, last)] == [0, 1, 2, 3]
        assert [claim.job_id for claim in await side.claim(slots=9)] == [first, third, paused, last]


@pytest.mark.parametrize("others", [3, 300])
async def test_a_job_that_became_ready_late_is_behind_those_that_were_ready_before(redis_url: str, others: int) -> None:
    """It has an older id than they have. 300 are more than are counted one by one."""
    async with queue_bench(redis_url) as side:
        late = await side.submit(run_at=datetime.now(UTC) + timedelta(seconds=1.5))
        assert await side.jobs.waiting(late) is None, "it is scheduled"
        ready = [a_submission() for _ in range(others)]
        await side.submitter.submit_many(ready)
        with anyio.fail_after(20):
            # It says itself for how long to wait.
            while not (promotion := await side.schedule.promote()).promoted:  # noqa: ASYNC110
                await anyio.sleep(promotion.next_s or 0)
        after = await side.submit()

        assert (await waiting(side, ready[0].job_id)).position in (0, 1), "one behind, if the late one has an older id"
        assert (await waiting(side, late)).position == others
        assert (await waiting(side, after)).position == others + 1
        assert [claim.job_id for claim in await side.claim(slots=others + 2)] == [
            *(each.job_id for each in ready),
            late,
            after,
        ]


async def test_an_estimate_needs_a_worker(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        jobs = [await side.submit() for _ in range(5)]
        for _ in range(2):
            [claim] = await side.claim(slots=1)
            await side.settle(claim, OUTCOMES["success"])
        alone = await waiting(side, jobs[-1])
        await side.client.zadd(keys.workers(INFERENCE), {"w": 4e12})
        served = await waiting(side, jobs[-1])

        assert (alone.position, alone.workers, alone.starts_in_s) == (2, 0, None)
        assert (served.position, served.workers) == (2, 1)
        assert served.starts_in_s is not None


async def test_the_pace_survives_a_worker_that_runs_dry_and_fills_up_again(redis_url: str) -> None:
    """Real workers, real waits: two bursts with a pause in between have one pace."""
    per_job_s = 0.02

    async def script(_: object) -> Success:
        await anyio.sleep(per_job_s)
        return success(1)

    async with queue_bench(redis_url) as side, running_worker(redis_url, ScriptedHandler(script), slots=2):
        rates = []
        for pause_s in (0.5, 0.0):
            submissions: list[Submission] = [a_submission() for _ in range(60)]
            await side.submitter.submit_many(submissions)
            for submission in submissions:
                await side.done(submission.job_id)
            rates.append(await drain_per_s(side))
            await anyio.sleep(pause_s)

        assert all(rate is not None and 10 < rate <= 2 / per_job_s * 1.2 for rate in rates), rates


def test_a_position_and_a_rate_give_a_time() -> None:
    rate = DrainRate(4.0)

    assert rate.starts_in_s(8, since_s=None) == 2.0
    assert rate.starts_in_s(8, since_s=0.0) == 2.25
    assert rate.starts_in_s(8, since_s=0.1) == pytest.approx(2.15)
    assert rate.starts_in_s(0, since_s=9.0) == 0.0
    assert DrainRate.measured(0, 10) is None
    assert DrainRate.measured(10, 0) == DrainRate(10_000.0)


@pytest.mark.parametrize(("rate", "seconds"), [(None, 10), (1000.0, 1), (0.4, 3), (0.0001, 3600)])
def test_room_is_promised_for_when_one_job_has_left(rate: float | None, seconds: int) -> None:
    assert retry_after_s(None if rate is None else DrainRate(rate), workers=2) == seconds


@pytest.mark.parametrize("rate", [None, DrainRate(1000.0), DrainRate(0.0001)])
def test_without_a_worker_no_rate_counts(rate: DrainRate | None) -> None:
    assert retry_after_s(rate, workers=0) == 60
